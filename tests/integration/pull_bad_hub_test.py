"""The real binary against a hub that misbehaves: every pull ends with a verified version, or with one clear error
and nothing visible in the store."""

import json
import signal
import subprocess
import time
import unittest

from hub_server import HubServer
from pull_case import BLOB, FILES, MODEL, RANGES, PullCase


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


if __name__ == "__main__":
    unittest.main()
