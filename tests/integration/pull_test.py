"""The real binary against a hub that misbehaves: every pull ends with a verified version, or with one clear error
and nothing visible in the store."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
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


class Secrets(PullCase):
    def test_token_stays_with_the_hub(self):
        self.hub.token = "hf_secret"
        self.expect_model(self.pull("org/model", *RANGES, HF_TOKEN="hf_secret"))
        self.assertTrue(all("Authorization" in r["headers"] for r in self.hub.requests(role="hub")))
        self.assertTrue(self.data_requests())
        self.assertFalse(any("Authorization" in r["headers"] for r in self.hub.requests(role="storage")))
        self.assertNotIn("hf_secret", self.notes)

    def test_other_places_of_the_token(self):
        self.hub.token = "hf_secret"
        (self.home / "cache" / "huggingface").mkdir(parents=True)
        (self.home / "cache" / "huggingface" / "token").write_text("hf_secret\n")
        self.expect_model(self.pull("org/model"))
        (self.home / "cache" / "huggingface" / "token").unlink()
        self.pull("org/model", HUGGING_FACE_HUB_TOKEN="hf_secret")

    def test_missing_and_wrong_token(self):
        self.hub.token = "hf_secret"
        self.refused("org/model", code="unauthenticated", says=["HF_TOKEN", "restricted"])
        message = self.refused("org/model", code="permission_denied", HF_TOKEN="wrong-one", says=["licence"])
        self.assertNotIn("wrong-one", message + self.stderr)
        self.refused("org/model", code="invalid_argument", HF_TOKEN="two\nlines", says=["HF_TOKEN"])

    def test_signed_addresses_are_not_shown(self):
        self.hub.fault(MODEL, {"status": 500}, forever=True)
        self.assertNotIn("signature", self.refused("org/model") + self.stderr)


class BadHub(PullCase):
    def test_cuts_are_resumed(self):
        self.hub.fault(MODEL, {"cut": 200000}, {"cut": 200000}, {"cut": 5})
        out = self.pull("org/model")
        self.expect_model(out)
        self.assertLess(out["bytes_fetched"], out["bytes"] + 10)
        self.assertIn("bytes=200000-", self.data_requests()[1]["headers"]["Range"])
        self.assertIn("If-Range", self.data_requests()[1]["headers"])

    def test_cuts_in_ranges(self):
        self.hub.fault(MODEL, *[{"cut": 30000}] * 7)
        self.expect_model(self.pull("org/model", *RANGES))

    def test_cut_for_ever_ends(self):
        self.hub.fault(MODEL, {"cut": 10}, forever=True)
        self.refused("org/model", says=[MODEL, "5 attempts", "kept"])

    def test_interrupted_process_resumes(self):
        self.hub.fault(MODEL, {"pieces": 1000, "pause": 0.02}, forever=True)
        process = subprocess.Popen(
            self.command("pull", "org/model", "--jobs", "1"),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.wait_until(lambda: self.part_bytes() > 50000)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(json.loads(out)["error"]["code"], "cancelled")
        self.assertEqual(self.listed(), [])
        self.hub.fault(MODEL)
        out = self.pull("org/model")
        self.expect_model(out)
        self.assertLess(out["bytes_fetched"], len(BLOB) - 40000)

    def test_killed_process_resumes(self):
        self.hub.fault(MODEL, {"pieces": 1000, "pause": 0.02}, forever=True)
        process = subprocess.Popen(
            self.command("pull", "org/model", *RANGES),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_until(lambda: self.part_bytes() > 100000)
        process.kill()
        process.wait()
        self.assertEqual(self.listed(), [])
        self.hub.fault(MODEL)
        self.expect_model(self.pull("org/model", *RANGES))

    def test_two_pulls_of_the_same(self):
        self.hub.fault(MODEL, {"pieces": 1000, "pause": 0.02})
        process = subprocess.Popen(
            self.command("pull", "org/model"),
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_until(lambda: self.part_bytes() > 10000)
        self.refused("org/model", says=["another process"])
        process.kill()
        process.wait()

    def part_bytes(self):
        return sum(p.stat().st_blocks * 512 for p in (self.home / "store").glob("partial/*/parts/*.part"))

    def wait_until(self, condition):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end, "nothing happened")
            time.sleep(0.02)

    def test_corrupted_part_is_noticed_and_fetched_again(self):
        self.hub.fault(MODEL, {"cut": 300000}, {"status": 404})
        self.refused("org/model", "--jobs", "1")
        (part,) = (self.home / "store").glob("partial/*/parts/*.part")
        with open(part, "r+b") as file:  # as after a power loss: noted, but not on the disk
            file.seek(100000)
            file.write(b"\0" * 1000)
        self.expect_model(self.pull("org/model"))
        self.assertIn("fetched again from the start", self.notes)

    def test_broken_state_is_not_believed(self):
        self.hub.fault(MODEL, {"cut": 300000}, {"status": 404})
        self.refused("org/model", "--jobs", "1")
        (state,) = (self.home / "store").glob("partial/*/parts/*.state")
        for text in ('{"ranges": [[0, 9, 9]]}', "[", '{"size":640000,"etag":1,"ranges":[[0,-1,0]]}', ""):
            state.write_text(text)
            self.hub.fault(MODEL, {"cut": 1000}, {"status": 404})
            self.refused("org/model", "--jobs", "1")
        self.expect_model(self.pull("org/model"))

    def test_ranges_are_ignored(self):
        self.hub.fault(MODEL, {"ignore_range": True}, forever=True)
        self.expect_model(self.pull("org/model", *RANGES))

    def test_ranges_are_ignored_after_a_cut(self):
        self.hub.fault(MODEL, {"cut": 200000}, {"ignore_range": True, "cut": 250000}, {"ignore_range": True})
        self.expect_model(self.pull("org/model"))

    def test_cut_and_no_ranges_for_ever_ends(self):
        self.hub.fault(MODEL, {"ignore_range": True, "cut": 400000}, forever=True)
        self.refused("org/model", says=[MODEL, "attempts"])
        self.assertLess(len(self.data_requests()), 12)

    def test_content_changes_between_attempts(self):
        other = bytes(len(BLOB))
        self.hub.fault(MODEL, {"cut": 300000, "data": other, "etag": "old"})
        self.expect_model(self.pull("org/model"))
        self.assertIn("changed on the hub", self.notes)

    def test_content_changes_while_ranges_are_fetched(self):
        other = bytes(len(BLOB))
        self.hub.fault(MODEL, *[{"data": other, "etag": "old"}] * 3)
        self.expect_model(self.pull("org/model", *RANGES))

    def test_content_changes_for_ever(self):
        self.hub.fault(MODEL, *[{"etag": str(i), "cut": 1000} for i in range(200)])
        self.refused("org/model", *RANGES, says=[MODEL])

    def test_wrong_hash(self):
        self.hub.fault(MODEL, {"corrupt": 123456}, forever=True)
        self.refused("org/model", code="data_loss", says=[MODEL, "SHA-256", "deleted"])
        self.assertEqual(list((self.home / "store").glob("partial/*/*/" + MODEL + "*")), [])
        self.hub.fault(MODEL)
        self.expect_model(self.pull("org/model"))

    def test_wrong_hash_in_ranges(self):
        self.hub.fault(MODEL, {"corrupt": 123456}, forever=True)
        self.refused("org/model", *RANGES, code="data_loss", says=["SHA-256"])

    def test_wrong_git_hash_of_a_small_file(self):
        self.hub.fault("config.json", {"corrupt": 3}, forever=True)
        self.refused("org/model", code="data_loss", says=["config.json", "git SHA-1"])

    def test_hub_contradicts_itself(self):
        self.hub.fault("hub:" + MODEL, {"linked": {"X-Linked-Etag": '"%s"' % ("0" * 64)}}, forever=True)
        self.refused("org/model", code="data_loss", says=["lists SHA-256"])
        self.hub.fault("hub:" + MODEL, {"linked": {"X-Linked-Size": "7"}}, forever=True)
        self.refused("org/model", code="data_loss", says=["offers 7"])

    def test_wrong_length(self):
        self.hub.fault(MODEL, {"content_length": 1000, "cut": 1000}, forever=True)
        self.refused("org/model", code="data_loss", says=["wrong length", "640000", "1000"])
        self.hub.fault(MODEL, {"range_total": 5}, forever=True)
        self.refused("org/model", *RANGES, code="data_loss", says=["wrong length"])

    def test_too_short_for_its_length(self):
        self.hub.fault(MODEL, {"content_length": len(BLOB), "cut": 1000})
        self.expect_model(self.pull("org/model"))

    def test_more_than_was_listed(self):
        self.hub.fault(MODEL, {"extra": 100000}, forever=True)
        self.refused("org/model", code="data_loss", says=["more than"])

    def test_wrong_content_range(self):
        self.hub.fault(MODEL, {"range_shift": 100}, forever=True)
        self.refused("org/model", *RANGES, code="data_loss", says=["Content-Range"])

    def test_compressed_on_the_way(self):
        self.hub.fault(MODEL, {"headers": {"Content-Encoding": "gzip"}}, forever=True)
        self.refused("org/model", code="data_loss", says=["gzip"])

    def test_too_many_requests(self):
        self.hub.fault(MODEL, {"status": 429, "headers": {"Retry-After": "1"}})
        start = time.monotonic()
        self.expect_model(self.pull("org/model"))
        self.assertGreaterEqual(time.monotonic() - start, 1.0)
        self.assertIn("429", self.notes)

    def test_asked_to_come_back_tomorrow(self):
        self.hub.fault(MODEL, {"status": 429, "headers": {"Retry-After": "86400"}}, forever=True)
        self.refused("org/model", code="unavailable", says=["86400"])
        self.hub.fault("api", {"status": 503, "headers": {"Retry-After": "86400"}}, forever=True)
        self.refused("org/model", code="unavailable", says=["86400"])

    def test_server_errors_pass(self):
        self.hub.fault(MODEL, {"status": 500}, {"status": 503}, {"status": 502})
        self.hub.fault("api", {"status": 500}, {"status": 429})
        self.hub.fault("config.json", {"status": 504})
        self.expect_model(self.pull("org/model"))

    def test_server_errors_for_ever(self):
        self.hub.fault(MODEL, {"status": 503}, forever=True)
        self.refused("org/model", code="unavailable", says=["503", "5 attempts"])
        self.hub.fault("api", {"status": 500}, forever=True)
        self.refused("org/model", code="unavailable", says=["500"])

    def test_stalls(self):
        self.hub.fault(MODEL, {"stall": 100000})
        self.expect_model(self.pull("org/model", "--stall-timeout", "1"))

    def test_slow_is_fine(self):
        self.hub.fault(MODEL, {"pieces": 50, "pause": 0.01})
        self.expect_model(self.pull("org/model"))

    def test_signed_address_runs_out(self):
        self.hub.fault(MODEL, None, None, {"status": 403}, None, None, {"status": 410})
        self.expect_model(self.pull("org/model", *RANGES, "--jobs", "1"))

    def test_file_vanishes(self):
        self.hub.fault("hub:" + MODEL, {"status": 404}, forever=True)
        self.refused("org/model", code="not_found", says=[MODEL])

    def test_hostile_redirects(self):
        for target in (self.hub.endpoint + "/org/model/resolve/main/" + MODEL, "file:///etc/passwd", "gopher://x/"):
            with self.subTest(target):
                self.hub.fault("hub:" + MODEL, {"redirect": target}, forever=True)
                self.refused("org/model", code="invalid_argument")

    def test_hostile_listings(self):
        cases = {
            "not JSON": b"<html>login here</html>",
            "not an object": b"[1]",
            "no commit": b"{}",
            "a commit that is none": b'{"sha": "../../etc"}',
            "deep": b"[" * 100000,
        }
        for what, body in cases.items():
            with self.subTest(what):
                self.hub.fault("api", {"body": body})
                self.refused("org/model", code="invalid_argument")
        info = {"body": json.dumps({"sha": "c" * 40}).encode()}
        entry = {"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}
        for change in (
            {"path": "../../escape"},
            {"path": "/etc/passwd"},
            {"path": "a\\b"},
            {"path": ""},
            {"path": "x" * 5000},
            {"path": "a\u0000b"},
            {"size": -1},
            {"size": "2"},
            {"size": 1.5},
            {"size": 1 << 62, "lfs": {"oid": "0" * 64, "size": 1 << 62}, "path": MODEL},
            {"lfs": {"oid": "short", "size": 2}},
            {"lfs": {"size": 2}},
        ):
            with self.subTest(change):
                self.hub.fault("api", info, {"body": json.dumps([{**entry, **change}]).encode()})
                self.refused("org/model")
        self.hub.fault("api", info, {"body": json.dumps([entry, entry]).encode()})
        self.refused("org/model", says=["each path once"])
        self.assertFalse((self.home / "escape").exists())

    def test_next_page_elsewhere(self):
        tree = {"body": b"[]", "headers": {"Link": f'<{self.hub.storage_endpoint}/x>; rel="next"'}}
        self.hub.fault("api", {"body": json.dumps({"sha": "c" * 40}).encode()}, tree)
        self.refused("org/model", says=["same host"])
        self.assertEqual(self.hub.requests(role="storage"), [])

    def test_missing_shard(self):
        index = {"weight_map": {"a": MODEL, "b": "model-00002-of-00002.safetensors"}}
        files = {**FILES, "model.safetensors.index.json": json.dumps(index).encode()}
        self.hub.add("org/model", files, lfs={MODEL})
        self.refused("org/model", says=["model-00002-of-00002.safetensors", "shard"])

    def test_nothing_to_take(self):
        self.hub.add("org/torch", {"config.json": b"{}", "pytorch_model.bin": b"x"})
        self.refused("org/torch", says=["safetensors", "pickle"])
        self.hub.add("org/empty", {})
        self.refused("org/empty")
        self.refused("org/missing", code="not_found", says=["org/missing"])

    def test_bad_names(self):
        for name in ("a/b/c", "../x", "org/..", "org/model@", "a b/c", "org/model@../x"):
            with self.subTest(name):
                self.assertEqual(self.run_verb("pull", name)[0], 1)
        self.refused("org/model", "--name", "../outside", code="invalid_argument")

    def test_no_hub_at_all(self):
        with HubServer() as gone:
            endpoint = gone.endpoint
        self.refused("org/model", code="unavailable", says=["reachable"], HF_ENDPOINT=endpoint)
        self.refused("org/model", code="invalid_argument", says=["HF_ENDPOINT"], HF_ENDPOINT="ftp://x")

    def test_disk_too_small(self):
        huge = {"lfs": {"oid": "0" * 64, "size": 1 << 50, "pointerSize": 1}}
        self.hub.add("org/model", FILES, lfs={MODEL}, listed={MODEL: huge})
        self.refused("org/model", code="resource_exhausted", says=["free disk space", "INHOUSE_HOME"])
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


class Models(PullCase):
    def test_life_of_a_model(self):
        out = self.pull("org/model")
        self.assertEqual(self.run_verb("models", "path", "org/model")[1]["path"], out["path"])
        self.assertEqual(self.run_verb("models", "path", "model")[1]["path"], out["path"])
        self.assertIn("org/model", self.run_verb("models", "path", "modle")[1]["error"]["message"])
        damaged = pathlib.Path(out["path"]) / MODEL
        os.chmod(damaged, 0o644)
        damaged.write_bytes(BLOB[:-1] + b"x")
        code, report = self.run_verb("models", "verify")
        self.assertEqual((code, report["ok"]), (1, False))
        self.assertEqual([p["path"] for p in report["results"][0]["problems"]], [MODEL])
        self.assertEqual(self.run_verb("models", "rm", "org/model")[0], 0)
        self.assertEqual(self.listed(), [])
        self.assertEqual(os.listdir(self.home / "store" / "models"), [])

    def test_unfinished_downloads_are_shown_and_pruned(self):
        self.hub.fault(MODEL, {"cut": 300000}, {"status": 404})
        self.refused("org/model")
        (partial,) = self.run_verb("models")[1]["partial"]
        self.assertEqual((partial["source"], partial["active"]), ("hf:org/model", False))
        self.assertEqual(self.run_verb("models", "prune")[1]["removed"], 1)
        self.assertEqual(self.run_verb("models")[1]["partial"], [])

    def test_readers_see_whole_versions_while_one_pulls(self):
        stop, seen = threading.Event(), []

        def look():
            while not stop.is_set():
                for model in self.run_verb("models")[1]["models"]:
                    seen.append((pathlib.Path(model["path"]) / MODEL).read_bytes() == BLOB)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for commit in "cdef":
                config = b'{"model_type": "%s"}' % commit.encode()
                self.hub.add("org/model", {**FILES, "config.json": config}, {MODEL}, commit=commit * 40)
                subprocess.run(self.command("pull", "org/model"), env=self.environment(), capture_output=True)
        finally:
            stop.set()
            thread.join()
        self.assertTrue(all(seen))


if __name__ == "__main__":
    unittest.main()
