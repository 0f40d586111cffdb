"""The server's life: loading, health during a long prompt, clients that leave, draining, bad starts."""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving, model, run  # noqa: E402

NAME = Serving.NAME


def chat_body(content="Tell me a long story.", **options):
    return {"model": NAME, "messages": [{"role": "user", "content": content}], "temperature": 0, **options}


def post_bytes(body):
    text = json.dumps(body)
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


ENDLESS = {"max_tokens": 100_000, "ignore_eos": True}
LONG = "The quick brown fox jumps over the lazy dog. " * 160


class Health(unittest.TestCase):
    def test_answers_within_50_ms_while_a_long_prompt_is_computed(self):
        with Serving("--max-sequences", "1") as server:
            for attempt in range(3):
                done = threading.Event()

                def ask():
                    server.post("/v1/completions", {"model": NAME, "prompt": f"{attempt} {LONG}", "max_tokens": 1})
                    done.set()

                thread = threading.Thread(target=ask)
                thread.start()
                server.await_metric("vllm:num_requests_running", lambda n: n == 1)
                times = []
                while not done.is_set():
                    for path in ("/livez", "/readyz", "/metrics", "/v1/models"):
                        started = time.monotonic()
                        self.assertEqual(server.call("GET", path)[0], 200)
                        times.append(time.monotonic() - started)
                thread.join()
                if len(times) >= 8 and max(times) < 0.05:
                    print(f"health: {len(times)} answers during one prompt, slowest {max(times) * 1000:.1f} ms")
                    return
            self.fail(f"slowest of {len(times)} answers: {max(times) * 1000:.0f} ms")

    def test_while_loading(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with Serving(wait=False, port=port) as server:
            seen = set()
            while not select.select([server.process.stdout], [], [], 0)[0]:
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(server.call("GET", "/livez")[0], 200)
                    status, headers, _ = server.call("GET", "/v1/models")
                    seen.add(status)
                    if status == 503:
                        self.assertTrue(headers["Retry-After"].isdigit())
                self.assertIsNone(server.process.poll())
            self.assertLessEqual(seen, {200, 503})
            server.wait_ready()
            self.assertEqual(server.call("GET", "/readyz")[0], 200)


class Leaving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(Serving("--max-sequences", "1"))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def test_while_it_generates(self):
        for stream in (False, True):
            aborted = self.server.metric("vllm:request_success_total", finished_reason="abort")
            with self.server.raw(post_bytes(chat_body(stream=stream, **ENDLESS))) as connection:
                self.server.await_metric("vllm:num_requests_running", lambda n: n == 1)
                if stream:
                    self.assertIn(b"200 OK", connection.recv(1000))
            self.server.await_idle()
            self.server.await_metric("vllm:request_success_total", lambda n: n == aborted + 1, finished_reason="abort")

    def test_during_prefill(self):
        steps = self.server.metric("vllm:generation_tokens_total")
        with self.server.raw(post_bytes(chat_body(LONG, max_tokens=5))):
            self.server.await_metric("vllm:num_requests_running", lambda n: n == 1)
        self.server.await_idle()
        self.assertLessEqual(self.server.metric("vllm:generation_tokens_total"), steps + 1)

    def test_while_it_waits(self):
        with self.server.raw(post_bytes(chat_body(stream=True, **ENDLESS))) as first:
            self.server.await_metric("vllm:num_requests_running", lambda n: n == 1)
            with self.server.raw(post_bytes(chat_body(stream=True, **ENDLESS))):
                self.server.await_metric("vllm:num_requests_waiting", lambda n: n == 1)
            self.server.await_metric("vllm:num_requests_waiting", lambda n: n == 0)
            self.assertEqual(self.server.metric("vllm:num_requests_running"), 1)
            self.assertTrue(first.recv(1000))
        self.server.await_idle()

    def test_official_client(self):
        stream = self.server.client().chat.completions.create(stream=True, extra_body={"ignore_eos": True}, max_tokens=100_000,
                                                              model=NAME, messages=[{"role": "user", "content": "hi"}])
        next(iter(stream))
        stream.close()
        self.server.await_idle()

    def test_client_that_does_not_read(self):
        with self.server.raw() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(post_bytes(chat_body(stream=True, max_tokens=50, ignore_eos=True)))
            self.idle_after = self.server.await_metric("vllm:request_success_total", lambda n: n >= 1, finished_reason="length")
            self.assertEqual(self.server.call("GET", "/livez")[0], 200)


class Draining(unittest.TestCase):
    def stream(self, server, **options):
        connection = server.raw(post_bytes(chat_body(stream=True, **options)))
        server.await_metric("vllm:num_requests_running", lambda n: n == 1)
        return connection

    def read(self, connection):
        text = b""
        while piece := connection.recv(65536):
            text += piece
        return text.decode()

    def test_answers_in_flight_end(self):
        for sign in (signal.SIGTERM, signal.SIGINT):
            with Serving() as server, self.stream(server, max_tokens=80, ignore_eos=True) as connection:
                server.process.send_signal(sign)
                statuses = set()
                with contextlib.suppress(ConnectionError):
                    while len(statuses) < 2:
                        statuses.add(server.call("GET", "/readyz")[0])
                self.assertLessEqual(statuses, {200, 503})
                text = self.read(connection)
                self.assertTrue(text.endswith("data: [DONE]\n\n\r\n0\r\n\r\n"), text[-300:])
                self.assertEqual(server.process.wait(30), 0)

    def test_deadline(self):
        with Serving("--drain-seconds", "0.3") as server, self.stream(server, **ENDLESS) as connection:
            server.process.send_signal(signal.SIGTERM)
            text = self.read(connection)
            self.assertIn('data: {"error":{"message":"The server is shutting down."', text)
            self.assertEqual(server.process.wait(30), 0)

    def test_idle_server_ends_at_once(self):
        with Serving() as server, server.raw() as connection:
            started = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - started, 5)
            self.assertEqual(connection.recv(1), b"")


class Starts(unittest.TestCase):
    def test_address_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = run("serve", "--model", model(), "--port", port)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"127.0.0.1:{port}", done.stderr)

    def test_bad_flags(self):
        for flags in (["--port", "70000"], ["--port", "-1"], ["--queue", "x"], ["--nonsense"]):
            self.assertEqual(run("serve", "--model", "m", *flags).returncode, 2, flags)

    def test_no_such_model(self):
        done = run("serve", "--model", "/nowhere/at/all", "--port", "0")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("/nowhere/at/all", done.stderr)


if __name__ == "__main__":
    unittest.main()
