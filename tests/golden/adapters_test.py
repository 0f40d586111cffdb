"""An adapter beside the weights against the same adapter merged into them, in float64 by NumPy.

The goldens of tests/fixtures/adapters judge llama; here are the other families, biases, the output
embedding, and a GGUF file, whose rows of q and k lie in another order.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

from safetensors_file import raw, read_safetensors, write_safetensors

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = os.path.join(ROOT, "tests/fixtures/models")
BINARY = os.environ.get("INHOUSE_BIN", os.path.join(ROOT, "build/dev/inhouse"))
IDS = ",".join(str((7 + 31 * i) % 250) for i in range(23))
RANK, ALPHA = 3, 12
HEAD = "lm_head"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise AssertionError(f"inhouse {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
    return done.stdout


def logits(model, adapter=None, isa="ref"):
    flags = ("--adapter", adapter) if adapter else ()
    return np.array(json.loads(run("logits", "-m", model, "--ids", IDS, "--all", "--isa", isa, "-t", "1", *flags))["logits"])


def float32(array):
    return raw("F32", np.asarray(array, np.float32))


class Merged(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def make(self, case, modules, biases=False, size=0.3):
        """(adapter directory, merged model directory)"""
        random = np.random.default_rng(len(case))
        weights = read_safetensors(os.path.join(MODELS, case, "model.safetensors"))
        merged, adapter = dict(weights), {}
        names = [name for name in weights if name.endswith(".weight") and any(name.endswith(f".{m}.weight") for m in modules)]
        if HEAD in modules and f"{HEAD}.weight" not in weights:  # tied
            weights[f"{HEAD}.weight"] = weights["model.embed_tokens.weight"]
            adapter[f"base_model.model.{HEAD}.base_layer.weight"] = float32(weights[f"{HEAD}.weight"])
            names.append(f"{HEAD}.weight")
        for name in names:
            out, into = weights[name].shape
            module = name.removesuffix(".weight")
            a = np.float32(random.normal(0, 1 / np.sqrt(into), (RANK, into))).astype(np.float64)
            b = np.float32(random.normal(0, size, (out, RANK))).astype(np.float64)
            merged[name] = weights[name] + ALPHA / RANK * b @ a
            adapter[f"base_model.model.{module}.lora_A.weight"] = float32(a)
            adapter[f"base_model.model.{module}.lora_B.weight"] = float32(b)
            if biases and f"{module}.bias" in weights:
                own, shift = (np.float32(random.normal(0, 0.2, out)).astype(np.float64) for _ in range(2))
                merged[f"{module}.bias"] = own + ALPHA / RANK * shift
                adapter[f"base_model.model.{module}.base_layer.bias"] = float32(own)
                adapter[f"base_model.model.{module}.lora_B.bias"] = float32(shift)
        folders = [os.path.join(self.folder, name) for name in ("adapter", "merged")]
        for folder in folders:
            os.makedirs(folder)
        write_safetensors(os.path.join(folders[0], "adapter_model.safetensors"), adapter)
        with open(os.path.join(folders[0], "adapter_config.json"), "w", encoding="utf-8") as file:
            json.dump({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(modules),
                       "bias": "all" if biases else "none", "lora_bias": biases}, file)
        write_safetensors(os.path.join(folders[1], "model.safetensors"), {n: float32(w) for n, w in merged.items()})
        with open(os.path.join(MODELS, case, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        config["tie_word_embeddings"] = config["tie_word_embeddings"] and HEAD not in modules
        with open(os.path.join(folders[1], "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        return folders

    def check(self, case, modules, fast=1e-4, **options):
        adapter, merged = self.make(case, modules, **options)
        base = os.path.join(MODELS, case)
        plain = logits(base)
        expected = logits(merged)
        for found, limit in ((logits(base, adapter), 1e-4), (self.fast(base, adapter), fast)):
            self.assertLess(np.abs(found - expected).max() / np.abs(expected).max(), limit)
        self.assertGreater(np.abs(plain - expected).max() / np.abs(expected).max(), 1e-2)

    @staticmethod
    def fast(base, adapter):
        return np.array(json.loads(run("logits", "-m", base, "--ids", IDS, "--all", "--adapter", adapter))["logits"])

    def test_qwen2_with_biases(self):
        self.check("qwen2", ("q_proj", "k_proj", "v_proj", "down_proj"), biases=True)

    def test_qwen3_some_modules(self):
        self.check("qwen3", ("v_proj", "o_proj", "up_proj"))

    def test_bf16_whose_adapter_is_kept_in_f16(self):
        # Smaller than the others: BF16 activations, too, lose what a large adapter magnifies.
        self.check("llama-bf16", MODULES, fast=1e-2, size=0.03)

    def test_tied_output_embedding(self):
        self.check("llama-tied", ("q_proj", HEAD))

    def test_changed_copy_of_the_output_embedding_is_refused(self):
        adapter, _ = self.make("llama-tied", (HEAD,))
        path = os.path.join(adapter, "adapter_model.safetensors")
        with open(path, "r+b") as file:
            header = int.from_bytes(file.read(8), "little")
            file.seek(8 + header)
            file.write(b"\x01")
        done = subprocess.run([BINARY, "logits", "-m", os.path.join(MODELS, "llama-tied"), "--ids", "1", "--adapter", adapter],
                              capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("lm_head.base_layer.weight", done.stderr)

    def test_gguf(self):
        gguf = os.path.join(MODELS, "gguf-bf16/model.gguf")
        directory = os.path.join(self.folder, "hf")
        run("quantize", "-m", gguf, "--to", "bf16", "-o", directory)
        random = np.random.default_rng(5)
        weights, adapter = read_safetensors(os.path.join(directory, "model.safetensors")), {}
        for name, weight in weights.items():
            if name.endswith("_proj.weight"):
                module = "base_model.model." + name.removesuffix(".weight")
                adapter[f"{module}.lora_A.weight"] = float32(random.normal(0, 0.1, (RANK, weight.shape[1])))
                adapter[f"{module}.lora_B.weight"] = float32(random.normal(0, 0.3, (weight.shape[0], RANK)))
        path = os.path.join(self.folder, "gguf-adapter")
        os.makedirs(path)
        write_safetensors(os.path.join(path, "adapter_model.safetensors"), adapter)
        with open(os.path.join(path, "adapter_config.json"), "w", encoding="utf-8") as file:
            json.dump({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": "all-linear"}, file)
        expected = logits(directory, path)
        self.assertLess(np.abs(logits(gguf, path) - expected).max() / np.abs(expected).max(), 1e-5)
        self.assertGreater(np.abs(logits(gguf) - expected).max() / np.abs(expected).max(), 1e-2)


if __name__ == "__main__":
    unittest.main()
