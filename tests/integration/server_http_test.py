"""The listener against clients that misbehave: slow, huge, rude, gone. Raw sockets."""

import contextlib
import json
import os
import re
import select
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving  # noqa: E402

NAME = Serving.NAME
server = None
stack = contextlib.ExitStack()


def setUpModule():
    global server
    server = stack.enter_context(Serving("--header-seconds", "1", "--connections", "64", "--body-mib", "4"))


def tearDownModule():
    stack.close()


def read_all(connection):
    text = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            text += piece
    return text.decode()


def readable(connection, seconds):
    return bool(select.select([connection], [], [], seconds)[0])


def get(path, extra=""):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()


CLOSE = "Connection: close\r\n"


class Listener(unittest.TestCase):
    def test_one_byte_at_a_time(self):
        with server.raw() as connection:
            started = time.monotonic()
            for byte in get("/livez") * 10:
                if readable(connection, 0.2):
                    break
                with contextlib.suppress(ConnectionError):
                    connection.send(bytes([byte]))
            self.assertLess(time.monotonic() - started, 10)
            self.assertTrue(read_all(connection).startswith("HTTP/1.1 408"))

    def test_many_slow_clients_do_not_lock_others_out(self):
        with contextlib.ExitStack() as slow:
            for _ in range(100):
                slow.enter_context(server.raw(b"GET /livez HTTP/1.1\r\n"))
            # Those that hold connections without a request are cut off after the header's time.
            end = time.monotonic() + 20
            status = 0
            while status != 200 and time.monotonic() < end:
                with contextlib.suppress(OSError, ValueError, Exception):
                    status = server.call("GET", "/livez", timeout=5)[0]
            self.assertEqual(status, 200)

    def test_pipelining_keeps_order(self):
        with server.raw(get("/livez") + get("/nowhere") + get("/version") + get("/livez", CLOSE)) as connection:
            text = read_all(connection)
        self.assertEqual(re.findall(r"HTTP/1\.1 (\d+)", text), ["200", "404", "200", "200"])

    def test_keep_alive(self):
        with server.raw() as connection:
            for _ in range(5):
                connection.sendall(get("/livez"))
                text = connection.recv(65536).decode()
                self.assertTrue(text.startswith("HTTP/1.1 200") and text.endswith('{"status":"ok"}'), text)

    def test_pipelined_behind_a_chat(self):
        body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3})
        post = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with server.raw(post.encode() + get("/livez", CLOSE)) as connection:
            text = read_all(connection)
        self.assertEqual(text.count("HTTP/1.1 200"), 2)
        self.assertLess(text.index("chat.completion"), text.index('{"status":"ok"}'))

    def test_http_1_0(self):
        with server.raw(b"GET /livez HTTP/1.0\r\n\r\n") as connection:
            self.assertIn("Connection: close", read_all(connection))

    def test_large_header(self):
        with server.raw() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (10 << 20))
            self.assertTrue(read_all(connection).startswith("HTTP/1.1 431"))
        with server.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
            self.assertTrue(read_all(connection).startswith("HTTP/1.1 431"))

    def test_large_body(self):
        head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
        with server.raw(f"{head}Content-Length: {5 << 20}\r\n\r\n".encode()) as connection:
            self.assertTrue(read_all(connection).startswith("HTTP/1.1 413"))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with server.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()) as connection:
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    connection.sendall(chunk)
            self.assertTrue(read_all(connection).startswith("HTTP/1.1 413"))

    def test_not_http(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b"hello\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
                     b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
            with server.raw(data) as connection:
                self.assertRegex(read_all(connection), r"^HTTP/1\.1 (400|431|505) ")

    def test_expect_continue(self):
        body = b'{"prompt":"hi"}'
        head = f"POST /tokenize HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{CLOSE}Content-Length: {len(body)}\r\n\r\n"
        with server.raw(head.encode()) as connection:
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 100 Continue"))
            connection.sendall(body)
            self.assertIn('"tokens"', read_all(connection))

    def test_request_id(self):
        self.assertEqual(server.call("GET", "/livez", headers={"X-Request-Id": "mine-1"})[1]["x-request-id"], "mine-1")
        self.assertTrue(server.call("GET", "/livez", headers={"X-Request-Id": "x" * 500})[1]["x-request-id"].startswith("req_"))
        self.assertTrue(server.call("GET", "/nowhere")[1]["x-request-id"].startswith("req_"))

    def test_bad_input_leaves_no_memory_behind(self):
        bodies = [b'{"a":' + b"[" * 1_000_000, b'{"messages":[' + b"0," * 1_000_000 + b"0]}", b"\xff" * 1_000_000,
                  b'{"model":"' + b"x" * 1_000_000 + b'","messages":[{"role":"user","content":"x"}]}']

        def round_trip():
            for body in bodies:
                self.assertIn(server.call("POST", "/v1/chat/completions", body)[0], (400, 404))

        for _ in range(5):
            round_trip()
        before = server.metric("process_resident_memory_bytes")
        for _ in range(30):
            round_trip()
        self.assertLess(server.metric("process_resident_memory_bytes") - before, 64 << 20)
        self.assertLess(server.metric("process_open_fds"), 100)


if __name__ == "__main__":
    unittest.main()
