"""The server against clients that mean harm, and against a machine that has nothing left: whatever comes, it
answers with an error that says what is wrong, loses nothing, and goes on for everybody else."""

import contextlib
import json
import os
import re
import resource
import select
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving  # noqa: E402

NAME = Serving.NAME
CONNECTIONS = 200
server = None
stack = contextlib.ExitStack()


def setUpModule():
    global server
    server = stack.enter_context(Serving("--header-seconds", "1", "--body-seconds", "1", "--connections", str(CONNECTIONS),
                                         "--body-mib", "4", "--max-sequences", "4", "--queue", "64"))


def tearDownModule():
    stack.close()


def chat(content="Tell me a long story.", **options):
    return {"model": NAME, "messages": [{"role": "user", "content": content}], "temperature": 0, **options}


def post_bytes(body, path="/v1/chat/completions", extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def read_all(connection):
    text = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            text += piece
    return text.decode("utf-8", "replace")


def status_of(text):
    match = re.match(r"HTTP/1\.1 (\d+) ", text)
    return int(match.group(1)) if match else None


class AsUsual:
    """Somebody else, who is answered within `seconds` all the while."""

    def __init__(self, case, seconds=2.0):
        self.case, self.seconds, self.slowest, self.count = case, seconds, 0.0, 0
        self.stop = threading.Event()
        self.failures = []

    def run(self):
        while not self.stop.wait(0.02):
            started = time.monotonic()
            try:
                status = server.call("GET", "/health", timeout=10)[0]
                if status != 200:
                    self.failures.append(status)
            except OSError as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.count += 1

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.case.assertEqual(self.failures, [])
        self.case.assertGreater(self.count, 0)
        self.case.assertLess(self.slowest, self.seconds)


class Slow(unittest.TestCase):
    def test_bodies_that_do_not_come(self):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
        with AsUsual(self), contextlib.ExitStack() as slow:
            started = time.monotonic()
            connections = [slow.enter_context(server.raw(head)) for _ in range(64)]
            cut = 0
            while cut < len(connections) and time.monotonic() - started < 15:
                cut = 0
                for connection in connections:
                    if select.select([connection], [], [], 0)[0]:
                        cut += 1
                    else:
                        with contextlib.suppress(ConnectionError):
                            connection.send(b" ")
                time.sleep(0.05)  # the client's own slowness
            for connection in connections:
                self.assertEqual(status_of(read_all(connection)), 408)

    def test_readers_that_ask_and_do_not_read(self):
        """Each could make the server keep what it is allowed to queue for one stream, megabytes."""
        before = server.metric("process_resident_memory_bytes")
        requests = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        with AsUsual(self), contextlib.ExitStack() as stack_of_them:
            for _ in range(CONNECTIONS // 2):
                connection = stack_of_them.enter_context(server.raw())
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    connection.send(requests)
            self.assertEqual(server.call("GET", "/livez")[0], 200)
            self.assertLess(server.metric("process_resident_memory_bytes") - before, 100 << 20)

    def test_all_pipelined_answers_come(self):
        get = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n"
        with server.raw((get + b"\r\n") * 600 + get + b"Connection: close\r\n\r\n") as connection:
            self.assertEqual(read_all(connection).count("HTTP/1.1 200 OK"), 601)


BAD_HTTP = {
    "two lengths": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunks": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "endless length": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "length that is no number": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n",
    "chunk beyond 64 bits": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    "negative chunk": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "chunk without its end": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
    "unknown coding": b"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "folded field": b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n: d\r\n\r\n",
    "zero byte in a field": b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    "space before the colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "no method": b" /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "control bytes": bytes(range(1, 32)) * 4 + b"\r\n\r\n",
    "many fields": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200_000 + b"\r\n",
}

BAD_JSON = [
    b"", b" ", b"{", b"}", b"nul", b"[]", b"1", b'"x"', b"null", b'{"a":}', b'{"a":1,}', b"{'a':1}", b'{"a":1}{"b":2}', b"\xef\xbb\xbf",
    b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 100_000 + b"}", b"[" * 100_000, b'{"a":' * 50_000, b"\x00" * 100, b"\xff\xfe{\x00}\x00",
    b'{"model":"\xff\xfe"}', b'{"model":"\xc0\xaf"}', b'{"model":"\xed\xa0\x80"}', b'{"model":"\\ud800"}', b'{"model":"\\u12"}',
    b'{"model":"a\nb"}', b'{"' + b"k" * 1_000_000 + b'":1}', b"{" + b",".join(b'"k%d":0' % i for i in range(100_000)) + b"}",
]
POSTS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens",
         "/tokenize", "/detokenize", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/batches", "/v1/files"]


class Malformed(unittest.TestCase):
    def test_http(self):
        for name, data in BAD_HTTP.items():
            with self.subTest(name), server.raw() as connection:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                status = status_of(read_all(connection))
                # Whoever leaves in the middle of a body gets no answer; everybody else is told.
                self.assertIn(status, (400, 408, 413, 431, 501, 505, None) if "chunk" in name else (400, 413, 431, 501), name)
        self.assertEqual(server.call("GET", "/livez")[0], 200)

    def test_json_on_every_route(self):
        for path in POSTS:
            for body in BAD_JSON:
                with self.subTest(path=path, body=body[:40]):
                    status, headers, text = server.call("POST", path, body)
                    self.assertTrue(400 <= status < 500, (status, text[:300]))
                    self.assertEqual(headers["Content-Type"], "application/json")
                    self.assertIn("message", json.loads(text)["error"])

    def test_wrong_types_in_every_field(self):
        values = [None, True, -1, 1e308, 2**70, "", "x" * 1000, [], [[]], {}, {"a": {"b": []}}, [None] * 1000]
        fields = ["model", "messages", "max_tokens", "temperature", "top_p", "n", "stop", "stream", "stream_options", "seed", "logit_bias",
                  "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "user", "priority", "cache_salt", "metadata",
                  "stop_token_ids", "allowed_token_ids", "bad_words", "reasoning_effort", "thinking", "structured_outputs",
                  "chat_template_kwargs", "prompt_logprobs", "min_tokens", "top_k", "min_p", "repetition_penalty"]
        for field in fields:
            for value in values:
                status, _, text = server.call("POST", "/v1/chat/completions", {**chat("hi", max_tokens=1), field: value})
                self.assertTrue(200 <= status < 500, (field, str(value)[:50], status, text[:300]))

    def test_large_numbers_of_everything(self):
        for options in ({"stop": ["x" * 100_000]}, {"stop": ["a"] * 10_000}, {"logit_bias": {str(i): 1 for i in range(49152)}},
                        {"stop_token_ids": list(range(40_000))}, {"bad_words": ["word" * 100] * 2000},
                        {"allowed_token_ids": list(range(40_000))}, {"max_tokens": 2**62}, {"n": 16, "top_logprobs": 20, "logprobs": True},
                        {"messages": [{"role": "user", "content": "x"}] * 20_000},
                        {"tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(3000)]}):
            status, answer = server.post("/v1/chat/completions", {"max_tokens": 2, **chat("hi"), **options})
            self.assertIn(status, (200, 400, 413, 429), (str(options)[:60], answer))


def nested(depth, kind):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}} if kind == "object" else {"type": "array", "items": schema}
    return schema


def doubling(levels):
    """Each definition names the one below twice: 2^levels parts, were they written out."""
    definitions = {"d0": {"type": "string"}}
    for i in range(1, levels):
        below = {"$ref": f"#/$defs/d{i - 1}"}
        definitions[f"d{i}"] = {"type": "object", "properties": {"a": below, "b": below}, "required": ["a", "b"]}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels - 1}"}


SCHEMAS = {
    "deep objects": nested(300, "object"), "deep arrays": nested(250, "array"),
    "wide": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}},
    "huge enum": {"enum": [f"value {i}" for i in range(50_000)]}, "long enum": {"enum": ["x" * 100_000 + str(i) for i in range(10)]},
    "doubling": doubling(40), "circle": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "all of all": {"allOf": [{"anyOf": [{"type": "object", "properties": {f"{i}{j}": {"minLength": j}}} for j in range(12)]}
                             for i in range(12)]},
    "exponential pattern": {"type": "string", "pattern": "^(a+)+(b|bb)*(c?){200}$"},
    "counted pattern": {"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"},
    "large states": {"type": "string", "pattern": "^.*a.{40}$"}, "many patterns": {"type": "object", "patternProperties": {
        f"^(x|y)*{i}z{{1,50}}$": {"type": "integer"} for i in range(200)}},
    "counts": {"type": "array", "items": {"type": "string", "minLength": 100_000}, "minItems": 100_000},
    "far numbers": {"type": "integer", "minimum": -(2**200), "maximum": 2**200, "multipleOf": 7},
    "backreference": {"type": "string", "pattern": r"^(a*)\1$"},
}
GRAMMARS = {
    "left recursion": "root ::= root \"a\" | \"b\"", "mutual": "root ::= x\nx ::= y\ny ::= x | \"a\"", "empty loop": "root ::= (\"\"*)*",
    "ambiguous": "root ::= (\"a\"* | \"a\"*)* (\"a\" | \"aa\")*", "counted": "root ::= ((\"a\"{1,1000}){1,1000}){1,1000}",
    "no root": "x ::= \"a\"", "not a grammar": "\x00\x01" * 100, "many rules": "root ::= r0\n" + "".join(
        f"r{i} ::= \"a\" r{i + 1} | \"b\" r{i + 1}\n" for i in range(5000)) + "r5000 ::= \"c\"",
}


class Schemas(unittest.TestCase):
    """A schema is a program that a stranger gives: it is bounded before it runs."""

    def ask(self, name, options):
        started = time.monotonic()
        status, answer = server.post("/v1/chat/completions", chat("Answer.", max_tokens=4, **options))
        seconds = time.monotonic() - started
        self.assertIn(status, (200, 400), (name, answer))
        if status == 400:  # of a body that is too deep or has too many values no field is named
            self.assertTrue(answer["error"]["message"], name)
        self.assertLess(seconds, 3, name)

    def test_each(self):
        with AsUsual(self):
            for name, schema in SCHEMAS.items():
                wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
                tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
                with self.subTest(name):
                    self.ask(name, {"response_format": wrapped})
                    self.ask(name, {"tools": [tool], "tool_choice": "required"})
            for name, grammar in GRAMMARS.items():
                with self.subTest(name):
                    self.ask(name, {"structured_outputs": {"grammar": grammar}})

    def test_many_at_once_do_not_keep_others_waiting(self):
        answered = []

        def attack(i):
            names = list(SCHEMAS)
            for name in names[i % len(names):]:
                schema = SCHEMAS[name] | {"description": f"not in the cache {i}"}
                server.post("/v1/chat/completions", chat("Answer.", max_tokens=1, response_format={
                    "type": "json_schema", "json_schema": {"name": "x", "schema": schema}}), timeout=120)

        threads = [threading.Thread(target=attack, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        with AsUsual(self):
            while any(thread.is_alive() for thread in threads):
                started = time.monotonic()
                status, _ = server.post("/tokenize", {"model": NAME, "prompt": "Hello"})
                answered.append(time.monotonic() - started)
                self.assertEqual(status, 200)
        print(f"schemas: {len(answered)} honest requests meanwhile, slowest {max(answered) * 1000:.0f} ms")
        self.assertLess(max(answered), 5)


class Leaving(unittest.TestCase):
    def test_pages_are_free_within_a_step(self):
        endless = {"max_tokens": 100_000, "ignore_eos": True, "stream": True}
        with server.raw(post_bytes(chat("I stay.", **endless))) as stays:
            server.await_metric("vllm:num_requests_running", lambda n: n == 1)
            alone = server.metric("vllm:kv_cache_usage_perc")
            with contextlib.ExitStack() as others:
                for i in range(3):
                    others.enter_context(server.raw(post_bytes(chat(f"{i} " + "word " * 700, **endless))))
                server.await_metric("vllm:num_requests_running", lambda n: n == 4)
                # Their prompts are in the pages.
                server.await_metric("vllm:kv_cache_usage_perc", lambda share: share > 3 * alone + 0.01)
            steps = server.metric("inhouse_engine_steps_total")
            # What the requests of these metrics themselves take is a few steps as well.
            server.await_metric("vllm:num_requests_running", lambda n: n == 1, seconds=5)
            self.assertLess(server.metric("vllm:kv_cache_usage_perc"), 2 * alone + 0.01)
            print(f"leaving: pages free after {server.metric('inhouse_engine_steps_total') - steps:.0f} steps at most")
            self.assertTrue(stays.recv(1000))
        server.await_idle()
        self.assertEqual(server.metric("vllm:kv_cache_usage_perc"), 0)

    def test_a_hundred_that_come_and_go(self):
        before = server.metric("process_resident_memory_bytes")
        for i in range(100):
            with server.raw(post_bytes(chat(f"{i}", stream=i % 2 == 0, max_tokens=50))) as connection:
                if i % 3 == 0:
                    connection.recv(10)
                if i % 3 == 1:  # a reset instead of a farewell
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        server.await_idle()
        self.assertEqual(server.metric("vllm:kv_cache_usage_perc"), 0)
        self.assertLess(server.metric("process_resident_memory_bytes") - before, 64 << 20)


class TooMany(unittest.TestCase):
    def test_connections_beyond_the_limit(self):
        busy = {"max_tokens": 200, "ignore_eos": True, "stream": True}
        with server.raw(post_bytes(chat("I was here first.", **busy), extra="Connection: close\r\n")) as stream:
            self.assertIn(b"200 OK", stream.recv(100))
            with contextlib.ExitStack() as many:
                for _ in range(10 * CONNECTIONS):
                    connection = many.enter_context(socket.socket())
                    connection.setblocking(False)
                    connection.connect_ex(("127.0.0.1", server.port))
                # Idle ones make room for whoever comes, so that nobody is locked out by them.
                self.assertEqual(server.call("GET", "/livez", timeout=10)[0], 200)
                self.assertLess(server.metric("process_open_fds"), CONNECTIONS + 200)
            self.assertIn("[DONE]", read_all(stream))

    def test_busy_connections_beyond_the_limit(self):
        endless = post_bytes(chat("I stay.", max_tokens=100_000, ignore_eos=True, stream=True))
        with contextlib.ExitStack() as many:
            held, refused = [], []
            for _ in range(CONNECTIONS + 40):
                connection = many.enter_context(server.raw(endless))
                head = connection.recv(4000).decode("utf-8", "replace")
                (held if status_of(head) == 200 else refused).append(head)
            self.assertLessEqual(len(held), 4 + 64)
            for head in refused:  # too many answers, or too many connections
                self.assertIn(status_of(head), (429, 503))
                self.assertRegex(head, r"(?i)\r\nretry-after: \d+\r\n")
        server.await_idle()


class NothingLeft(unittest.TestCase):
    def test_file_descriptors(self):
        """Without one for the next client, and without one for anything else."""
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]
        busy = post_bytes(chat("I was here first.", max_tokens=100, ignore_eos=True, stream=True), extra="Connection: close\r\n")
        kept = server.raw()
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"200 OK", kept.recv(4000))
        with kept, server.raw(busy) as stream:
            self.assertIn(b"200 OK", stream.recv(100))
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, hard))
            try:
                with server.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") as late:
                    self.assertIn("[DONE]", read_all(stream))  # who was there is served to the end
                    kept.sendall(post_bytes(chat("And I.", max_tokens=4)))
                    self.assertIn(b"200 OK", kept.recv(4000))
                    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
                    self.assertIn(b"200 OK", late.recv(4000))  # and who came late when there is room again
            finally:
                resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        self.assertLess(server.stderr().count("cannot accept a connection"), 20)


if __name__ == "__main__":
    unittest.main()
