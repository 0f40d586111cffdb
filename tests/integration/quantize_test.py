"""`inhouse quantize` and `compare` by the real binary: bytes, resume, full disks, hostile input."""

import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

import numpy as np

INHOUSE = os.path.abspath(os.environ.get("INHOUSE_BIN", "build/dev/inhouse"))
MODELS = pathlib.Path("tests/fixtures/models").resolve()
PLAIN = MODELS / "llama-bf16"


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: (info["dtype"], info["shape"], raw[8 + size + info["data_offsets"][0] : 8 + size + info["data_offsets"][1]])
        for name, info in header.items()
    }


def read_directory(path):
    tensors = {}
    for file in sorted(pathlib.Path(path).glob("*.safetensors")):
        tensors.update(read_safetensors(file))
    return tensors


def from_bf16(raw):
    return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)


def e4m3_table():
    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    value = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))
    return np.where(codes & 128, -value, value)


def dequantize(tensors, config, module):
    quantization = config["quantization_config"]
    if quantization["quant_method"] == "fp8":
        _, (rows, columns), codes = tensors[module + ".weight"]
        block = quantization["weight_block_size"][0]
        _, grid, scales = tensors[module + ".weight_scale_inv"]
        scales = np.frombuffer(scales, "<f4").reshape(grid).repeat(block, 0)[:rows].repeat(block, 1)[:, :columns]
        return e4m3_table()[np.frombuffer(codes, np.uint8)].reshape(rows, columns) * scales
    rows, columns = np.frombuffer(tensors[module + ".weight_shape"][2], "<i8")
    words = np.frombuffer(tensors[module + ".weight_packed"][2], "<u4")
    _, grid, scales = tensors[module + ".weight_scale"]
    bits = 32 * len(words) // (rows * columns)
    codes = np.stack([words >> (bits * i) & (2**bits - 1) for i in range(32 // bits)], -1)
    codes = codes.reshape(rows, columns).astype(np.int64) - 2 ** (bits - 1)
    return codes * from_bf16(scales).reshape(grid).repeat(columns // grid[1], 1)


class QuantizeCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="inhouse-quantize-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "out"

    def run_verb(self, *words, **options):
        done = subprocess.run(
            [INHOUSE, *map(str, words), "--json"], capture_output=True, text=True, timeout=300, check=False, **options
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def quantize(self, to, *words, model=PLAIN, out=None, **options):
        return self.run_verb("quantize", "-m", model, "--to", to, "--out", out or self.out, *words, **options)

    def quantized(self, to, *words, **more):
        code, report = self.quantize(to, *words, **more)
        self.assertEqual(code, 0, report)
        return report

    def refused(self, *says, code="", result):
        status, out = result
        self.assertEqual(status, 1, out)
        for text in says:
            self.assertIn(text, out["error"]["message"])
        if code:
            self.assertEqual(out["error"]["code"], code)

    def contents(self, folder=None):
        return {f.name: f.read_bytes() for f in sorted((folder or self.out).iterdir())}


class Values(QuantizeCase):
    def check(self, to, relative, size):
        report = self.quantized(to)
        self.assertLessEqual(report["quantized_of_bf16"], size)
        source, made = read_directory(PLAIN), read_directory(self.out)
        config = json.loads((self.out / "config.json").read_text())
        quantized = 0
        for name, (dtype, shape, raw) in source.items():
            module = name.removesuffix(".weight")
            if name in made and made[name][0] == dtype:
                self.assertEqual(made[name], (dtype, shape, raw), "kept byte for byte")
                self.assertTrue(len(shape) == 1 or module in ("lm_head", "model.embed_tokens"), name)
                continue
            quantized += 1
            want = from_bf16(raw).reshape(shape).astype(np.float64)
            got = dequantize(made, config, module)
            self.assertLess(np.sqrt(((got - want) ** 2).mean() / (want**2).mean()), relative, name)
        self.assertEqual(quantized, report["quantized_tensors"])
        self.assertGreater(quantized, 0)
        return config["quantization_config"]

    # E4M3 has a step of 2^-4 to 2^-3 of a value: at most half of it away, 0.026 on average.
    def test_fp8(self):
        config = self.check("fp8", 0.03, 0.505)
        self.assertEqual((config["quant_method"], config["fmt"]), ("fp8", "e4m3"))
        self.assertEqual(config["activation_scheme"], "dynamic")

    def test_int8(self):
        config = self.check("int8", 0.01, 0.54)
        self.assertEqual((config["quant_method"], config["format"]), ("compressed-tensors", "pack-quantized"))

    def test_int4(self):
        self.check("int4", 0.13, 0.29)

    def test_bf16_is_a_copy(self):
        self.quantized("bf16")
        self.assertEqual(read_directory(self.out), read_directory(PLAIN))

    def test_threads_do_not_change_a_byte(self):
        for to in ("fp8", "int4"):
            one, three = self.folder / f"{to}1", self.folder / f"{to}3"
            self.quantized(to, "--threads", "1", out=one)
            self.quantized(to, "--threads", "3", out=three)
            self.assertEqual(self.contents(one), self.contents(three))

    def test_a_quantized_model_is_a_source_too(self):
        self.quantized("fp8")
        again = self.folder / "again"
        self.quantized("bf16", model=self.out, out=again)
        made = read_directory(again)
        config = json.loads((self.out / "config.json").read_text())
        self.assertNotIn("quantization_config", json.loads((again / "config.json").read_text()))
        self.assertEqual(set(made), set(read_directory(PLAIN)))
        tensors = read_directory(self.out)
        module = "model.layers.0.mlp.down_proj"
        want = dequantize(tensors, config, module).ravel().astype(np.float32)
        got = from_bf16(made[module + ".weight"][2])
        self.assertLessEqual(np.abs(got - want).max(), 2.0**-8 * np.abs(want).max())


class Gguf(QuantizeCase):
    """A GGUF file becomes a directory that answers like it: names, permutation of q and k, scaling."""

    def logits(self, model):
        done = subprocess.run(
            [INHOUSE, "logits", "-m", str(model), "--ids", "1,5,9,2,7,3", "--all", "--isa", "ref", "-t", "1"],
            capture_output=True, text=True, timeout=120, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return np.array(json.loads(done.stdout)["logits"])

    def test_logits_stay(self):
        for case in ("gguf-bf16", "gguf-qwen2", "gguf-qwen3", "gguf-tied", "gguf-linear", "gguf-llama3", "gguf-q8_0"):
            with self.subTest(case):
                model, out = MODELS / case / "model.gguf", self.folder / case
                self.quantized("bf16", model=model, out=out)
                want, got = self.logits(model), self.logits(out)
                # Q8_0 weights (and F32 matrices) are rounded to 8 bits of mantissa.
                self.assertLess(np.abs(got - want).max() / np.abs(want).max(), 2e-2)

    def test_bf16_weights_give_the_same_bits(self):
        self.quantized("bf16", model=MODELS / "gguf-bf16/model.gguf")
        np.testing.assert_allclose(self.logits(self.out), self.logits(MODELS / "gguf-bf16/model.gguf"), rtol=0, atol=1e-6)


class Resume(QuantizeCase):
    SHARDS = ("--shard-bytes", "20000")

    def test_a_killed_run_goes_on(self):
        model, shards = write_model(self.folder / "model"), ("--shard-bytes", "1000000")
        whole = self.folder / "whole"
        self.quantized("int4", *shards, model=model, out=whole)
        want = self.contents(whole)
        self.assertGreater(sum(name.endswith(".safetensors") for name in want), 5)
        command = [INHOUSE, "quantize", "-m", str(model), "--to", "int4", "--out", str(self.out), *shards, "-t", "1"]
        for sign, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
            before = len(list(self.out.glob("*.safetensors"))) if self.out.exists() else 0
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            while process.poll() is None and len(list(self.out.glob("*.safetensors"))) <= before:
                pass
            process.send_signal(sign)
            process.communicate()
            self.assertEqual(process.returncode, status, "the run was over before the signal came")
            self.assertFalse((self.out / "config.json").exists())
        report = self.quantized("int4", *shards, model=model)
        self.assertGreater(report["shards_kept"], 1)
        self.assertEqual(self.contents(), want)

    def test_other_options_and_damage_start_again(self):
        self.quantized("int4", *self.SHARDS)
        want = self.contents()
        (self.out / "config.json").unlink()
        first = sorted(self.out.glob("*.safetensors"))[0]
        first.write_bytes(first.read_bytes()[:-1])
        self.refused("--force", code="already_exists", result=self.quantize("int4", *self.SHARDS))
        report = self.quantized("int4", *self.SHARDS, "--force")
        self.assertEqual(report["shards_kept"], report["shards"] - 1)
        self.assertEqual(self.contents(), want)
        (self.out / "config.json").unlink()
        self.refused(code="already_exists", result=self.quantize("int8", *self.SHARDS))
        self.assertEqual(self.quantized("int8", *self.SHARDS, "--force")["shards_kept"], 0)
        self.assertEqual(len(read_directory(self.out)), len({**read_directory(self.out)}))

    def test_a_finished_model_is_safe(self):
        self.quantized("fp8")
        want = self.contents()
        self.refused("--force", code="already_exists", result=self.quantize("fp8"))
        self.assertEqual(self.contents(), want)
        self.quantized("fp8", "--force")
        self.assertEqual(self.contents(), want)

    def test_other_files_are_safe(self):
        self.out.mkdir()
        (self.out / "holiday.jpg").write_bytes(b"photo")
        self.refused("holiday.jpg", code="already_exists", result=self.quantize("fp8"))
        self.refused("holiday.jpg", code="already_exists", result=self.quantize("fp8", "--force"))
        self.assertEqual(self.contents(), {"holiday.jpg": b"photo"})

    def test_the_model_itself_is_safe(self):
        copy = self.folder / "copy"
        shutil.copytree(PLAIN, copy)
        before = self.contents(copy)
        self.refused("other than the model's own", result=self.quantize("fp8", "--force", model=copy, out=copy))
        self.assertEqual(self.contents(copy), before)


class Refusals(QuantizeCase):
    def test_a_full_disk(self):
        limit = 20000
        result = self.quantize("fp8", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(result[0], 1)
        self.assertIn("model", result[1]["error"]["message"])
        self.assertEqual(list(self.out.iterdir()), [], "nothing half-written is left")
        self.quantized("fp8")

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_too_small_a_disk(self):
        disk = self.folder / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True).returncode:
            self.skipTest("no way to mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", disk], check=False)
        self.refused("free disk space", code="resource_exhausted", result=self.quantize("fp8", out=disk / "out"))

    def test_a_place_that_cannot_be_written(self):
        file = self.folder / "file"
        file.write_text("x")
        self.refused(str(file), result=self.quantize("fp8", out=file / "out"))
        self.refused(result=self.quantize("fp8", out="/proc/nowhere"))

    def test_weights_that_are_not_finite(self):
        copy = self.folder / "copy"
        shutil.copytree(PLAIN, copy)
        file = copy / "model.safetensors"
        raw = bytearray(file.read_bytes())
        (size,) = struct.unpack("<Q", raw[:8])
        begin = json.loads(raw[8 : 8 + size])["model.layers.1.mlp.up_proj.weight"]["data_offsets"][0] + 8 + size
        for bits in (0x7FC0, 0xFF80):
            raw[begin + 100 : begin + 102] = struct.pack("<H", bits)
            file.write_bytes(raw)
            for to in ("fp8", "int4"):
                self.refused("model.layers.1.mlp.up_proj.weight", "finite", result=self.quantize(to, model=copy))

    def test_models_that_are_none(self):
        self.refused(result=self.quantize("fp8", model=self.folder / "nothing"))
        (self.folder / "empty").mkdir()
        self.refused("config.json", result=self.quantize("fp8", model=self.folder / "empty"))
        cut = self.folder / "cut.gguf"
        cut.write_bytes((MODELS / "gguf-q8_0/model.gguf").read_bytes()[:5000])
        self.refused("cut.gguf", result=self.quantize("bf16", model=cut))

    def test_flags(self):
        self.refused("--calibrate", result=self.quantize("bf16", "--calibrate", "README.md"))
        self.assertEqual(self.quantize("fp7")[0], 2)
        self.assertEqual(self.quantize("int4", "--group", "100")[0], 2)

    def test_two_runs_at_once(self):
        import fcntl

        self.out.mkdir()
        handle = os.open(self.out, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.refused("no other run", code="unavailable", result=self.quantize("fp8"))
        finally:
            os.close(handle)


class Calibrate(QuantizeCase):
    def kl(self, to, *words, name):
        out = self.folder / name
        self.quantized(to, *words, model=self.model, out=out)
        code, result = self.run_verb("compare", self.model, out, "--text", self.text, "--context", "64", "--no-speed")
        self.assertEqual(code, 0, result)
        return result["kl_mean"]

    def test_a_text_and_the_model_s_own(self):
        self.model, self.text = with_tokenizer(self.folder)
        made = {}
        for to in ("int4", "fp8"):
            plain = self.kl(to, "--calibrate", "none", name=f"{to}-plain")
            fitted = self.kl(to, "--calibrate", self.text, name=f"{to}-text")
            own = self.kl(to, "--calibrate", "self", "--calibrate-tokens", "2048", name=f"{to}-self")
            made[to] = (plain, fitted, own)
            # The same format; only codes and scales differ.
            for name in ("text", "self"):
                a, b = (read_directory(self.folder / f"{to}-{n}") for n in ("plain", name))
                self.assertEqual({k: v[:2] for k, v in a.items()}, {k: v[:2] for k, v in b.items()})
                self.assertNotEqual(a, b)
            self.assertLess(fitted, plain, made)
        again = self.folder / "again"
        self.quantized("int4", "--calibrate", "self", "--calibrate-tokens", "2048", "-t", "3", model=self.model, out=again)
        self.assertEqual(self.contents(again), self.contents(self.folder / "int4-self"))

    def test_texts_that_are_none(self):
        self.model, _ = with_tokenizer(self.folder)
        short = self.folder / "short"
        short.write_text("too short")
        self.refused("512 tokens", str(short), result=self.quantize("int4", "--calibrate", short, model=self.model))
        self.refused(str(self.folder / "no"), result=self.quantize("int4", "--calibrate", self.folder / "no", model=self.model))


class Compare(QuantizeCase):
    def test_a_model_with_itself_and_smaller_ones(self):
        model, text = with_tokenizer(self.folder)
        same = self.compare(model, model, text)
        self.assertEqual((same["top1_agreement"], same["kl_mean"], same["kl_p99"]), (1, 0, 0))
        self.assertEqual((same["size_ratio"], same["tokens"]), (1, 500))
        self.assertEqual(*same["perplexity"])
        self.assertGreater(same["speed"]["decode_tokens_per_second"][0], 0)
        results = {}
        for to in ("fp8", "int8", "int4"):
            self.quantized(to, model=model, out=self.folder / to)
            results[to] = self.compare(model, self.folder / to, text)
        self.assertGreater(results["int8"]["top1_agreement"], 0.9)
        self.assertLess(results["int8"]["kl_mean"], results["fp8"]["kl_mean"])
        self.assertLess(results["fp8"]["kl_mean"], results["int4"]["kl_mean"])
        self.assertLess(results["int4"]["size_ratio"], results["fp8"]["size_ratio"])
        # One after the other, through a file of logits, the same numbers come out.
        alone = self.compare(model, self.folder / "int4", text, "--one-at-a-time")
        self.assertEqual((results["int4"]["speed"]["interleaved"], alone["speed"]["interleaved"]), (True, False))
        for key in ("top1_agreement", "kl_mean", "kl_p99", "perplexity", "tokens"):
            self.assertEqual(alone[key], results["int4"][key])
        full = self.run_verb(
            "compare", model, self.folder / "int4", "--text", text, "--one-at-a-time",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)),
        )
        self.refused("inhouse-compare-", result=full)

    def test_one_model_run_in_two_ways(self):
        model, text = with_tokenizer(self.folder)
        self.quantized("int8", model=model, out=self.folder / "int8")
        plain = self.compare(self.folder / "int8", self.folder / "int8", text, "--no-speed")
        self.assertEqual((plain["kl_mean"], plain["activation_bits"], plain["kv_type"]), (0, [16, 16], ["auto", "auto"]))
        for flags, key, value in (
            (("--activation-bits-b", "8"), "activation_bits", [16, 8]),
            (("--kv-type-b", "fp8"), "kv_type", ["auto", "fp8"]),
        ):
            other = self.compare(self.folder / "int8", self.folder / "int8", text, "--no-speed", *flags)
            self.assertEqual(other[key], value)
            self.assertGreater(other["kl_mean"], 0)
            self.assertLess(other["kl_mean"], 0.05)
            self.assertEqual(other["perplexity"][0], plain["perplexity"][0])
        both = self.compare(self.folder / "int8", self.folder / "int8", text, "--activation-bits-a", "8", "--activation-bits-b", "8")
        self.assertEqual(both["kl_mean"], 0)

    def compare(self, a, b, text, *words):
        code, out = self.run_verb("compare", a, b, "--text", text, "--tokens", "500", "--context", "64", *words)
        self.assertEqual(code, 0, out)
        return out

    def test_other_vocabularies_are_refused(self):
        small, large = self.folder / "small", self.folder / "large"
        shutil.copytree(PLAIN, small)
        config = json.loads((small / "config.json").read_text())
        write_byte_tokenizer(small, config["vocab_size"])
        shutil.copytree(small, large)
        write_byte_tokenizer(large, config["vocab_size"], rotate=1)
        for words in ((), ("--one-at-a-time",)):
            self.refused("vocabulary", result=self.run_verb("compare", small, large, *words))


def with_tokenizer(folder):
    """The fixtures have no tokenizer, so one of single bytes is made for a copy; and a text for it."""
    model = folder / "model"
    shutil.copytree(PLAIN, model)
    write_byte_tokenizer(model, json.loads((model / "config.json").read_text())["vocab_size"])
    text = folder / "text"
    text.write_text("".join(chr(97 + i * i % 26) for i in range(2000)))
    return model, text


def write_model(folder):
    """19 million random weights in BF16: enough work to be interrupted in."""
    hidden, inner, layers, vocab = 512, 1408, 6, 256
    rng = np.random.default_rng(4)
    shapes = {"model.embed_tokens": (vocab, hidden), "lm_head": (vocab, hidden)}
    for i in range(layers):
        layer = f"model.layers.{i}."
        shapes |= {layer + f"self_attn.{p}_proj": (hidden, hidden) for p in "qkvo"}
        shapes |= {layer + "mlp.gate_proj": (inner, hidden), layer + "mlp.up_proj": (inner, hidden)}
        shapes |= {layer + "mlp.down_proj": (hidden, inner)}
        shapes |= {layer + "input_layernorm": (hidden,), layer + "post_attention_layernorm": (hidden,)}
    shapes["model.norm"] = (hidden,)
    header, data = {"__metadata__": {"format": "pt"}}, []
    offset = 0
    for name, shape in shapes.items():
        raw = (rng.standard_normal(shape, np.float32) * 0.02).view(np.uint32) >> 16
        data.append(raw.astype("<u2").tobytes())
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(data[-1])]}
        offset += len(data[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
    config = {"model_type": "llama", "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    config |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": vocab}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_byte_tokenizer(folder, size, rotate=0):
    """A byte-level tokenizer without merges; `rotate` gives other ids to the same bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    characters = [chr(c) for c in printable] + [chr(256 + i) for i in range(len(others))]
    vocab = {c: (i + rotate) % 256 for i, c in enumerate(characters)}
    vocab = {c: i for c, i in vocab.items() if i < size}
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": False}
    body = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": step, "decoder": step, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(body))


if __name__ == "__main__":
    unittest.main()
