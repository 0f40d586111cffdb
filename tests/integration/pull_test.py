"""The real binary against a hub that keeps the rules, and without a hub."""

import os
import pathlib
import shutil
import unittest

from hub_server import sha256
from pull_case import BLOB, FILES, MODEL, RANGES, SMALL, PullCase


class GoodHub(PullCase):
    def test_whole_file(self):
        out = self.pull("org/model")
        self.expect_model(out)
        self.assertEqual(out["revision"], "c" * 40)
        self.assertEqual(out["source"], "hf:org/model")
        self.assertEqual(out["bytes_fetched"], out["bytes"])
        (model,) = self.listed()
        self.assertEqual((model["name"], model["architecture"]), ("org/model", "LlamaForCausalLM"))

    def test_parallel_ranges(self):
        out = self.pull("org/model", *RANGES, "--jobs", "8")
        self.expect_model(out)
        self.assertGreaterEqual(len([r for r in self.data_requests() if "Range" in r["headers"]]), 9)

    def test_again_is_up_to_date(self):
        first = self.pull("org/model")
        again = self.pull("org/model")
        self.assertTrue(again["already_there"])
        self.assertEqual(again["version"], first["version"])
        self.assertEqual(len(self.data_requests()), 1)

    def test_update_shares_unchanged_files(self):
        self.pull("org/model")
        self.hub.add("org/model", {**FILES, "config.json": b'{"model_type": "qwen3"}'}, {MODEL}, commit="d" * 40)
        out = self.pull("org/model")
        self.assertEqual(out["revision"], "d" * 40)
        self.assertLess(out["bytes_fetched"], 1000)
        self.assertEqual(len(self.listed()), 1)
        self.assertEqual(len(self.run_verb("models", "--all")[1]["models"]), 2)

    def test_revision(self):
        self.expect_model(self.pull("org/model@refs/pr/1"))
        self.assertIn("/revision/refs%2Fpr%2F1", [r["path"] for r in self.hub.requests("revision")][0])
        self.assertEqual(self.run_verb("models", "rm", "org/model")[0], 0)
        self.refused("org/model", "--revision", "nowhere", code="not_found", says=["no such thing here"])

    def test_many_pages(self):
        self.hub.page_size = 2
        self.expect_model(self.pull("org/model"))

    def test_include_and_exclude(self):
        out = self.pull("org/model", "--include", "*.json", "--include", "*.bin", "--exclude", "tok*")
        self.assertEqual([f["path"] for f in out["files"]], ["config.json", "pytorch_model.bin"])

    def test_one_gguf_of_many(self):
        files = {"a-Q4_0.gguf": b"GGUF a", "big/b-00001-of-00002.gguf": b"GGUF b1", "README.md": b"r"}
        files["big/b-00002-of-00002.gguf"] = b"GGUF b2"
        self.hub.add("org/ggufs", files, lfs={p for p in files if p.endswith("gguf")})
        self.refused("org/ggufs", says=["a-Q4_0.gguf", "big/b-00001-of-00002.gguf", "--file"])
        out = self.pull("org/ggufs/a-Q4_0.gguf")
        self.assertEqual((out["name"], out["format"]), ("org/ggufs/a-Q4_0", "gguf"))
        self.assertEqual(pathlib.Path(out["path"]).read_bytes(), b"GGUF a")
        out = self.pull("org/ggufs/big/b-00001-of-00002.gguf", "--name", "b")
        self.assertEqual([f["path"] for f in out["files"]], ["big/b-00001-of-00002.gguf", "big/b-00002-of-00002.gguf"])
        self.assertTrue(out["path"].endswith("big/b-00001-of-00002.gguf"))
        self.assertEqual(self.run_verb("pull", "org/ggufs", "--file", "c.gguf")[1]["error"]["code"], "not_found")

    def test_model_scope(self):
        out = self.pull("modelscope:org/model", *RANGES)
        self.expect_model(out)
        self.assertEqual(out["source"], "modelscope:org/model")
        self.assertTrue(self.pull("org/model", "--hub", "modelscope")["already_there"])
        message = self.run_verb("pull", "modelscope:org/none")[1]["error"]["message"]
        self.assertIn("model not found", message)

    def test_odd_paths_and_empty_files(self):
        files = {**FILES, "a dir/ü #1?%.json": b"{}", "empty.txt": b""}
        self.hub.add("org/model", files, lfs={MODEL})
        out = self.pull("org/model", "--include", "*")
        self.assertEqual((pathlib.Path(out["path"]) / "a dir/ü #1?%.json").read_bytes(), b"{}")
        self.assertEqual((pathlib.Path(out["path"]) / "empty.txt").read_bytes(), b"")

    def test_dry_run_takes_nothing(self):
        out = self.pull("org/model", "--dry-run")
        self.assertIn(MODEL, [f["path"] for f in out["files"]])
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.data_requests(), [])


class Offline(PullCase):
    def source(self):
        directory = self.home / "My Model"
        directory.mkdir()
        for name, content in FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
        return directory

    def test_directory(self):
        directory = self.source()
        for words in ([str(directory)], ["--from", str(directory), "--name", "x/y"], ["z", "--from", str(directory)]):
            self.expect_model(self.pull(*words))
        self.assertEqual([m["name"] for m in self.listed()], ["My-Model", "x/y", "z"])
        self.assertEqual(self.hub.requests(), [])
        self.assertTrue(os.access(directory / MODEL, os.W_OK))

    def test_hard_links(self):
        directory = self.source()
        out = self.pull(str(directory), "--hard-link")
        self.expect_model(out)
        self.assertTrue(os.path.samefile(directory / MODEL, pathlib.Path(out["path"]) / MODEL))

    def test_cache_of_the_hub_library(self):
        blobs = self.home / "models--org--model" / "blobs"
        snapshot = self.home / "models--org--model" / "snapshots" / ("c" * 40)
        blobs.mkdir(parents=True)
        snapshot.mkdir(parents=True)
        for name, content in {**SMALL, MODEL: BLOB}.items():
            (blobs / name).write_bytes(content)
            (snapshot / name).symlink_to(blobs / name)
        out = self.pull(str(snapshot), "--hard-link")
        self.expect_model(out)
        self.assertEqual(out["name"], "org/model")
        self.assertFalse((pathlib.Path(out["path"]) / MODEL).is_symlink())

    def test_lists_of_digests_are_checked(self):
        directory = self.source()
        lines = "".join(f"{sha256(c)}  ./{n}\n" for n, c in FILES.items())
        (directory / "SHA256SUMS").write_text(lines)
        out = self.pull(str(directory))
        self.expect_model(out)
        self.run_verb("models", "rm", out["name"])
        (directory / MODEL).write_bytes(BLOB[:-1] + b"x")
        self.refused(str(directory), code="data_loss", says=[MODEL, "SHA-256"])

    def test_version_of_another_store(self):
        first = self.pull(str(self.source()))
        copy = self.home / "usb"
        shutil.copytree(first["path"], copy)
        self.run_verb("models", "rm", first["name"])
        self.expect_model(self.pull(str(copy)))
        self.run_verb("models", "rm", "usb")
        os.chmod(copy / MODEL, 0o644)
        (copy / MODEL).write_bytes(BLOB[:-1] + b"x")
        self.refused(str(copy), code="data_loss", says=[MODEL])

    def test_gguf_files(self):
        (self.home / "m-Q4.gguf").write_bytes(b"GGUF")
        self.assertEqual(self.pull(str(self.home / "m-Q4.gguf"))["name"], "m-Q4")
        for i in (1, 2):
            (self.home / f"s-0000{i}-of-00002.gguf").write_bytes(b"GGUF%d" % i)
        out = self.pull("--from", str(self.home / "s-00001-of-00002.gguf"))
        self.assertEqual((out["name"], len(out["files"])), ("s", 2))

    def test_bad_sources(self):
        self.refused("--from", str(self.home / "nothing"), code="not_found")
        (self.home / "empty").mkdir()
        self.refused(str(self.home / "empty"), code="invalid_argument")


if __name__ == "__main__":
    unittest.main()
