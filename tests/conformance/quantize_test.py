#!/usr/bin/env python3
"""What `inhouse quantize` writes, read by others: tokenizers from GGUF files by PyPI `tokenizers`;
FP8, INT8 and INT4 checkpoints by transformers and compressed-tensors (where torch is installed:
pip install torch transformers compressed-tensors accelerate).

INHOUSE_BIN names the binary, INHOUSE_TOKENIZERS the folder that scripts/fetch-tokenizers fills.
"""

import importlib.util
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import gguf
import numpy as np
import tokenizers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mixed_text

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("INHOUSE_BIN", str(ROOT / "build/dev/inhouse"))
STORE = pathlib.Path(os.environ.get("INHOUSE_TOKENIZERS", ROOT / "build/tokenizers"))
MODELS = ROOT / "tests/fixtures/models"
MISSING = [m for m in ("torch", "transformers", "compressed_tensors", "accelerate") if importlib.util.find_spec(m) is None]


def run(*words, **options):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=600, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"inhouse {words}: {done.stderr.strip()[-500:]}")
    return done.stdout


def quantize(model, to, out):
    run("quantize", "-m", model, "--to", to, "--out", out)
    return pathlib.Path(out)


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="inhouse-quantize-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


def write_tiny_model(vocabulary, path):
    """A llama of one layer with the tokenizer of another file: a vocabulary alone is no model."""
    fields = gguf.GGUFReader(vocabulary).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in ((writer.add_context_length, 64), (writer.add_embedding_length, 32), (writer.add_block_count, 1),
                       (writer.add_feed_forward_length, 32), (writer.add_head_count, 2), (writer.add_head_count_kv, 1),
                       (writer.add_layer_norm_rms_eps, 1e-5)):
        add(value)
    writer.add_token_list(tokens)
    writer.add_token_types(fields["tokenizer.ggml.token_type"].contents())
    writer.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    for key in ("model", "pre", "bos_token_id", "eos_token_id", "padding_token_id", "add_bos_token", "add_eos_token"):
        field = fields.get(f"tokenizer.ggml.{key}")
        if field is None:
            continue
        value = field.contents()
        kind = {str: writer.add_string, bool: writer.add_bool}.get(type(value), writer.add_uint32)
        kind(f"tokenizer.ggml.{key}", value)
    rng = np.random.default_rng(1)
    shapes = {"token_embd": (len(tokens), 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32),
              "blk.0.attn_output": (32, 32), "blk.0.ffn_gate": (32, 32), "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32)}
    for name, shape in shapes.items():
        writer.add_tensor(name + ".weight", rng.standard_normal(shape).astype(np.float16))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(name + ".weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Tokenizers(Folder):
    def check(self, name):
        source = STORE / name / f"{name}.gguf"
        if not source.exists():
            self.skipTest(f"{source} is not there: scripts/fetch-tokenizers brings it")
        model = source
        if name != "smollm2":
            model = self.folder / "tiny.gguf"
            write_tiny_model(str(source), str(model))
        out = quantize(model, "bf16", self.folder / "out")
        library = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
        special = [t["content"] for t in json.loads((out / "tokenizer.json").read_text())["added_tokens"]]
        rng = random.Random(5)
        texts = list(mixed_text.texts(200_000, seed=rng.randrange(1000), extra=special[:64]))
        for add in (False, True):
            lines = "".join(json.dumps({"text": t, "add_special_tokens": add}) + "\n" for t in texts)
            answers = run("tokenize", "-m", source, "--jsonl", input=lines).splitlines()
            for text, answer in zip(texts, answers, strict=True):
                ids = json.loads(answer)["ids"]
                self.assertEqual(library.encode(text, add_special_tokens=add).ids, ids, repr(text[:200]))
        # The engine reads what it wrote as it reads the GGUF file.
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts[:50])
        self.assertEqual(run("tokenize", "-m", out, "--jsonl", input=lines), run("tokenize", "-m", source, "--jsonl", input=lines))
        config = json.loads((out / "tokenizer_config.json").read_text())
        fields = gguf.GGUFReader(str(source)).fields
        template = fields.get("tokenizer.chat_template")
        self.assertEqual(config.get("chat_template"), template and template.contents())
        eos = fields["tokenizer.ggml.eos_token_id"].contents()
        self.assertEqual(library.token_to_id(config["eos_token"]), eos)

    def test_smollm2(self):
        self.check("smollm2")

    def test_deepseek_llm(self):
        self.check("deepseek-llm")

    def test_deepseek_coder(self):
        self.check("deepseek-coder")


@unittest.skipIf(MISSING, f"not installed: {', '.join(MISSING)}")
class Transformers(Folder):
    """Logits of transformers on the written directory, against the engine's on the same."""

    IDS = [1, 5, 9, 77, 30, 2, 121, 64, 33, 8, 200, 17]

    def check(self, source, to, limit):
        import torch
        import transformers

        out = quantize(source, to, self.folder / f"{pathlib.Path(source).name}-{to}")
        engine = np.array(json.loads(run("logits", "-m", out, "--ids", ",".join(map(str, self.IDS)), "--all", "--isa", "ref"))["logits"])
        model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
        with torch.no_grad():
            logits = model(torch.tensor([self.IDS])).logits[0].numpy()
        error = np.abs(logits - engine).max() / np.abs(engine).max()
        print(f"{pathlib.Path(source).name} {to}: largest difference {error:.1e} of the largest logit")
        self.assertLess(error, limit)

    def test_fixtures(self):
        for case in ("llama-bf16", "qwen2", "qwen3", "llama-tied"):
            for to in ("bf16", "fp8", "int8", "int4"):
                with self.subTest(f"{case} {to}"):
                    self.check(MODELS / case, to, 1e-3)

    def test_smollm2(self):
        source = STORE / "smollm2/smollm2.gguf"
        if not source.exists():
            self.skipTest(f"{source} is not there: scripts/fetch-tokenizers brings it")
        for to in ("fp8", "int8", "int4"):
            with self.subTest(to):
                self.check(source, to, 1e-2)


if __name__ == "__main__":
    unittest.main()
