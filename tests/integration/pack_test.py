"""`inhouse pack`, starts from what it wrote, and the memory of a start."""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

INHOUSE = os.environ["INHOUSE_BIN"]
HIDDEN, LAYERS, HEADS, FFN, VOCAB = 1024, 6, 8, 4096, 65536
MIB = 1 << 20


def write_model(directory):
    """A checkpoint of 400 MiB, mostly in the head, of zeros that take no room on the disk."""
    tensors = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN], "lm_head.weight": [VOCAB, HIDDEN]}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[at + name + ".weight"] = [HIDDEN]
        for name in "qkvo":
            tensors[f"{at}self_attn.{name}_proj.weight"] = [HIDDEN, HIDDEN]
        for name in ("gate", "up"):
            tensors[f"{at}mlp.{name}_proj.weight"] = [FFN, HIDDEN]
        tensors[at + "mlp.down_proj.weight"] = [HIDDEN, FFN]
    header, end = {}, 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (directory / "config.json").write_text(json.dumps({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "num_hidden_layers": LAYERS, "vocab_size": VOCAB, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512, "hidden_act": "silu", "rope_theta": 10000.0, "torch_dtype": "bfloat16",
        "tie_word_embeddings": False}))


class Pack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="inhouse-pack-"))
        cls.model = cls.root / "model"
        cls.model.mkdir()
        write_model(cls.model)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        self.out = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        self.environment = {**os.environ, "INHOUSE_HOME": str(self.home)}

    def start(self, verb, *flags):
        return subprocess.Popen([INHOUSE, verb, "-m", str(self.model), *flags], env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run_verb(self, verb, *flags):
        """Exit code, JSON of stdout, stderr and the peak of resident memory."""
        process = self.start(verb, "--json", *flags)
        out, error = process.stdout.read(), process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        process.stderr.close()
        return process.returncode, json.loads(out), error, usage.ru_maxrss * 1024

    def generate(self, *flags):
        return self.run_verb("generate", "--ids", "1,2,3", "-n", "4", "--temperature", "0", "-t", "2", *flags)

    def test_a_start_never_holds_two_copies(self):
        plan = self.run_verb("inspect")[1]["bytes"]
        self.assertGreater(plan["weights"], 250 * MIB)
        self.assertEqual(self.run_verb("pack")[0], 0)
        for flags in (["--packed", "off"], []):
            code, _, error, peak = self.generate(*flags)
            self.assertEqual(code, 0, error)
            # Half of what a second copy would add; pages of keys and values are touched when used.
            self.assertLess(peak, plan["weights"] + 130 * MIB, flags)

    def test_packing_needs_memory_for_one_product(self):
        plan = self.run_verb("inspect")[1]["bytes"]
        code, report, error, peak = self.run_verb("pack", "--out", str(self.out / "m"), "-t", "2")
        self.assertEqual(code, 0, error)
        self.assertGreater(report["file_bytes"], plan["weights"])
        self.assertLess(peak, 2 * VOCAB * HIDDEN + 60 * MIB)

    def test_found_in_the_store_or_named(self):
        code, report, error, _ = self.run_verb("pack")
        self.assertEqual(code, 0, error)
        self.assertEqual(os.listdir(self.home / "packed"), [os.path.basename(report["path"])])
        self.assertEqual(self.run_verb("pack", "--verify")[1]["verified"], True)
        moved = self.out / "elsewhere"
        shutil.move(report["path"], moved)
        self.assertEqual(self.generate("--packed", str(moved))[0], 0)
        os.truncate(moved, os.path.getsize(moved) - 1)
        code, answer, _, _ = self.generate("--packed", str(moved))
        self.assertEqual(code, 1)
        self.assertIn("size", answer["error"]["message"])
        shutil.move(moved, report["path"])
        code, _, error, _ = self.generate()
        self.assertEqual(code, 0)
        self.assertIn("packed weights passed over: " + report["path"], error)

    def wait_until_writing(self, process):
        folder = f"/proc/{process.pid}/fd"
        while process.poll() is None:
            for fd in os.listdir(folder):
                try:
                    if os.readlink(f"{folder}/{fd}").startswith(str(self.out)):
                        return
                except FileNotFoundError:
                    pass
            time.sleep(0.001)

    def test_killed_and_interrupted_leave_nothing(self):
        for how, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
            process = self.start("pack", "--out", str(self.out / "m"), "-t", "1")
            self.wait_until_writing(process)
            process.send_signal(how)
            process.communicate()
            self.assertEqual(process.returncode, code)
            self.assertEqual(os.listdir(self.out), [])


if __name__ == "__main__":
    unittest.main()
