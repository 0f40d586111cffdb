"""What the tests of `pull` and `models` share: a store of their own, a hub of their own, the real binary."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

from hub_server import HubServer, sha256

INHOUSE = os.environ.get("INHOUSE_BIN", "build/dev/inhouse")
BLOB = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(20000))  # 640 000 bytes
RANGES = ("--range-bytes", "65536")
MODEL = "model.safetensors"
SMALL = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}',
    "tokenizer.json": b'{"model": {}}',
    "README.md": b"# a model\n",
}
FILES = {**SMALL, MODEL: BLOB, "pytorch_model.bin": b"pickle", "original/x.safetensors": b"twice"}


class PullCase(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="inhouse-pull-"))
        self.addCleanup(self.remove_home)
        self.hub = HubServer()
        self.addCleanup(self.hub.__exit__)
        self.hub.add("org/model", FILES, lfs={MODEL})

    def remove_home(self):
        shutil.rmtree(self.home)

    def environment(self, **extra):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "MODELSCOPE"))}
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            keep.pop(name, None)
        keep.update(INHOUSE_HOME=str(self.home / "store"), HOME=str(self.home), HF_ENDPOINT=self.hub.endpoint)
        keep.update(XDG_CACHE_HOME=str(self.home / "cache"), MODELSCOPE_ENDPOINT=self.hub.endpoint, **extra)
        return keep

    def command(self, *words):
        quick = ("--retry-wait", "0.01", "--retries", "4") if words[0] == "pull" else ()
        return [INHOUSE, *words, *quick, "--json"]

    def run_verb(self, *words, **extra):
        done = subprocess.run(
            self.command(*words), env=self.environment(**extra), capture_output=True, text=True, timeout=120
        )
        self.stderr = done.stderr
        return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else None

    def pull(self, *words, **extra):
        code, out = self.run_verb("pull", *words, **extra)
        self.assertEqual(code, 0, (out, self.stderr))
        self.notes = self.stderr
        return out

    def refused(self, *words, says=(), code="", **extra):
        """A pull that must fail with one clear error and leave nothing visible."""
        status, out = self.run_verb("pull", *words, **extra)
        self.assertEqual(status, 1, (out, self.stderr))
        message = out["error"]["message"]
        for text in says:
            self.assertIn(text, message)
        if code:
            self.assertEqual(out["error"]["code"], code)
        self.assertEqual(self.listed(), [])
        return message

    def listed(self):
        return self.run_verb("models")[1]["models"]

    def expect_model(self, out, blob=BLOB, file=MODEL):
        path = pathlib.Path(out["path"])
        self.assertEqual((path / file).read_bytes(), blob)
        digests = {f["path"]: f["sha256"] for f in out["files"]}
        self.assertEqual(digests[file], sha256(blob))
        for name, content in SMALL.items():
            self.assertEqual((path / name).read_bytes(), content)
            self.assertEqual(digests[name], sha256(content))
        self.assertFalse((path / "pytorch_model.bin").exists())
        self.assertEqual(self.run_verb("models", "verify", out["name"])[1]["ok"], True)
        self.assertEqual(os.listdir(self.home / "store" / "partial"), [])

    def data_requests(self, text=MODEL):
        return [r for r in self.hub.requests(text, "storage")]

    def part_bytes(self):
        return sum(p.stat().st_blocks * 512 for p in (self.home / "store").glob("partial/*/parts/*.part"))

    def wait_until(self, condition):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end, "nothing happened")
            time.sleep(0.02)
