"""Prefixes in memory and on disk: across restarts and kill -9, with damaged files, two servers, a disk that is full."""

import concurrent.futures
import os
import resource
import signal
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving, model, run  # noqa: E402

STORY = "The hospital in the valley has a library of old letters. " * 14
QUESTION = {"model": Serving.NAME, "temperature": 0, "max_tokens": 12, "logprobs": True, "top_logprobs": 3,
            "messages": [{"role": "system", "content": STORY}, {"role": "user", "content": "What does it have?"}]}
HITS = "vllm:external_prefix_cache_hits_total"


def ask(server, **changes):
    status, answer = server.post("/v1/chat/completions", {**QUESTION, **changes})
    assert status == 200, answer
    return answer


def said(answer):
    """All that must not depend on where keys and values come from: text and every log probability."""
    return [(choice["message"]["content"], choice["logprobs"]) for choice in answer["choices"]]


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def another(number):
    return [{"role": "user", "content": f"Letter {number}. {STORY}"}]


class ServerCache(unittest.TestCase):
    """Lives of servers that share a directory. `first` was computed, all others are compared with it."""

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.place.cleanup)
        cls.disk = os.path.join(cls.place.name, "kv")
        cls.key = os.path.join(cls.place.name, "key")
        with open(cls.key, "w", encoding="ascii", opener=lambda *a: os.open(*a, 0o600)) as file:
            file.write(os.urandom(32).hex() + "\n")
        cls.flags = ("--kv-disk", cls.disk, "--kv-disk-key", cls.key)
        with Serving(*cls.flags, "--kv-gib", "0.25") as server:
            cls.plan = server.stderr()
            cls.first = ask(server)
            cls.again = ask(server)
            cls.salted = ask(server, cache_salt="mine")
            cls.refused = [server.post("/v1/chat/completions", {**QUESTION, **bad})[0]
                           for bad in ({"cache_salt": ""}, {"priority": -1})]
            cls.metrics = {name: server.metric(name) for name in (
                "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:prompt_tokens_cached_total",
                "inhouse_kv_disk_ready", HITS)}
        cls.tokens = cls.first["usage"]["prompt_tokens"]
        cls.full = (cls.tokens - 1) // 64 * 64

    def files(self):
        found = []
        for directory, _, names in os.walk(self.disk):
            found += [os.path.join(directory, name) for name in names if name.endswith(".inhouse-kv")]
        return found

    def test_the_cache_has_the_size_that_was_asked_for(self):
        self.assertRegex(self.plan, r"\+ KV 25[56]\.\d MiB ")

    def test_a_known_beginning_is_not_computed_again(self):
        self.assertEqual(cached(self.first), 0)
        self.assertEqual(cached(self.again), self.full)
        self.assertEqual(self.again["usage"]["prompt_cache_hit_tokens"], self.full)
        self.assertEqual(self.again["usage"]["prompt_cache_miss_tokens"], self.tokens - self.full)
        self.assertEqual(cached(self.salted), 0)
        self.assertEqual(said(self.first), said(self.again))
        self.assertEqual(said(self.first), said(self.salted))
        self.assertGreaterEqual(self.metrics["vllm:prefix_cache_queries_total"], 3 * self.tokens)
        self.assertGreaterEqual(self.metrics["vllm:prefix_cache_hits_total"], self.full)
        self.assertEqual(self.metrics["vllm:prefix_cache_hits_total"], self.metrics["vllm:prompt_tokens_cached_total"])
        self.assertEqual(self.metrics["inhouse_kv_disk_ready"], 1)
        self.assertEqual(self.metrics[HITS], 0)
        self.assertEqual(self.refused, [400, 400])

    def test_nothing_of_it_can_be_read(self):
        self.assertTrue(self.files())
        for path in self.files():
            with open(path, "rb") as file:
                content = file.read()
            self.assertNotIn(b"hospital", content)
            self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)

    def test_restarts_kills_and_damage(self):
        # A restart: another server stands by on the same directory, and takes it when the first is killed.
        server = Serving(*self.flags)
        try:
            from_disk = ask(server)
            self.assertEqual(cached(from_disk), self.full)
            self.assertEqual(said(from_disk), said(self.first))
            self.assertEqual(server.metric(HITS), self.full)
            self.assertEqual(cached(ask(server, cache_salt="yours")), 0)
            with Serving(*self.flags) as second:
                self.assertEqual(second.metric("inhouse_kv_disk_ready"), 0)
                alone = ask(second)
                self.assertEqual((cached(alone), said(alone)), (0, said(self.first)))
                self.kill_while_it_writes(server)
                second.await_metric("inhouse_kv_disk_ready", lambda value: value == 1)
                self.assertEqual(second.metric("inhouse_kv_disk_refused_total"), 0)
                self.assertEqual(said(ask(second, cache_salt="hers")), said(self.first))
        finally:
            server.process.kill()
            server.process.wait()
            server.log.close()
            server.process.stdout.close()
        # Every file damaged.
        self.damage()
        with Serving(*self.flags) as server:
            after = ask(server)
            self.assertEqual(said(after), said(self.first))
            self.assertLess(cached(after), self.full)
            self.assertGreater(server.metric("inhouse_kv_disk_refused_total"), 0)
            self.assertIn("refused and deleted", server.stderr())

    def kill_while_it_writes(self, server):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, server, messages=another(i), max_tokens=1) for i in range(8)]
            before = len(self.files())
            asked[3].result()
            while len(self.files()) == before:
                pass
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for answer in asked:
                answer.exception()

    def damage(self):
        """One bit in the middle of every file, but the last, which loses its end."""
        paths = self.files()
        for path in paths:
            size = os.path.getsize(path)
            with open(path, "r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)[0]
                file.seek(size // 2)
                file.write(bytes([byte ^ 4]))
        os.truncate(paths[-1], os.path.getsize(paths[-1]) // 2)

    def test_a_disk_that_takes_nothing(self):
        disk = os.path.join(self.place.name, "full")

        def no_large_files():  # what a full disk does to a file: it cannot grow
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        with Serving("--kv-disk", disk, "--kv-disk-key", self.key, preexec_fn=no_large_files) as server:
            self.assertEqual(said(ask(server)), said(self.first))
            server.await_metric("inhouse_kv_disk_write_errors_total", lambda count: count > 0)
            self.assertEqual(said(ask(server, cache_salt="x")), said(self.first))
            self.assertEqual(cached(ask(server)), self.full)
            self.assertEqual(server.metric("inhouse_kv_disk_bytes"), 0)
            self.assertEqual(server.stderr().count("prefixes are not saved"), 1)

    def test_what_is_refused_at_the_start(self):
        open_key = os.path.join(self.place.name, "open")
        short_key = os.path.join(self.place.name, "short")
        for path, text, mode in ((open_key, "x" * 64, 0o644), (short_key, "x" * 31, 0o600)):
            with open(path, "w", encoding="ascii", opener=lambda p, flags, mode=mode: os.open(p, flags, mode)) as file:
                file.write(text)
        for flags, words in (
                (("--kv-gib", "100000"), "KV 100000.00 GiB"),
                (("--kv-disk", self.disk), "--kv-disk-key"),
                (("--kv-disk", self.disk, "--kv-disk-key", open_key), "chmod 600"),
                (("--kv-disk", self.disk, "--kv-disk-key", short_key), "at least 32 bytes"),
                (("--kv-disk", self.disk, "--kv-disk-key", self.key, "--prefix-cache", "off"), "prefix cache"),
                (("--kv-disk", "/proc/nowhere", "--kv-disk-key", self.key), "/proc/nowhere: cannot create")):
            refused = run("serve", "--model", model(), "--port", "0", *flags)
            self.assertNotEqual(refused.returncode, 0, flags)
            self.assertIn(words, refused.stderr)


if __name__ == "__main__":
    unittest.main()
