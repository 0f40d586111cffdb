"""What goes wrong, as the official client sees it: its exception classes, and what it is told."""

import contextlib
import json
import unittest

import openai

from serving import Serving

NAME = Serving.NAME
MESSAGES = [{"role": "user", "content": "hi"}]
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving("--context", "512", "--queue", "2", "--max-sequences", "1", "--body-mib", "8"))
    client = server.client()


def tearDownModule():
    stack.close()


def chat(**options):
    return client.chat.completions.create(**{"model": NAME, "messages": MESSAGES, "max_tokens": 2, **options})


class Errors(unittest.TestCase):
    def refused(self, error, status, param=None, code=None, **options):
        with self.assertRaises(error) as caught:
            chat(**options)
        found = caught.exception
        self.assertEqual(found.status_code, status)
        self.assertEqual(found.param, param)
        if code is not None:
            self.assertEqual(found.code, code)
        self.assertTrue(found.request_id)
        self.assertEqual(set(found.body), {"message", "type", "param", "code"})
        return found

    def test_unknown_model(self):
        self.refused(openai.NotFoundError, 404, "model", "model_not_found", model="gpt-4")
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("gpt-4")

    def test_ranges(self):
        for name, values in {"temperature": (-1, 2.1, "x"), "top_p": (0, 1.1), "n": (0, 10**6), "max_tokens": (0, -5, 1.5),
                             "presence_penalty": (-3, 3), "frequency_penalty": (9,), "seed": (2**70, "a"),
                             "logprobs": (5,), "top_logprobs": (3,), "stop": (3, ""), "logit_bias": ({"a": 1}, {"1": 500}),
                             "stream": ("yes",), "user_does_not_matter": ()}.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    self.refused(openai.BadRequestError, 400, name, extra_body={name: value})

    def test_context_length(self):
        self.refused(openai.BadRequestError, 400, "messages", "context_length_exceeded",
                     messages=[{"role": "user", "content": "word " * 2000}])
        with self.assertRaises(openai.BadRequestError) as caught:
            client.completions.create(model=NAME, prompt="word " * 2000)
        self.assertEqual((caught.exception.code, caught.exception.param), ("context_length_exceeded", "prompt"))
        # More than fits is cut, not refused.
        self.assertEqual(chat(max_tokens=10**9, stop=["a", "e", "i", "o"]).choices[0].finish_reason, "stop")

    def test_messages(self):
        image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
        audio = [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]
        for messages, param in (([], "messages"), ([{"role": "user"}], "messages[0].content"),
                                ([{"role": "wizard", "content": "x"}], "messages[0].role"),
                                ([{"role": "user", "content": image}], "messages[0].content[0].type"),
                                ([{"role": "user", "content": audio}], "messages[0].content[0].type")):
            self.refused(openai.BadRequestError, 400, param, messages=messages)

    def test_unsupported(self):
        self.refused(openai.BadRequestError, 400, "chat_template", extra_body={"chat_template": "{{ 1 }}"})
        self.refused(openai.BadRequestError, 400, "response_format.type", response_format={"type": "xml"})
        tool = {"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}
        self.refused(openai.BadRequestError, 400, "tools['f'].function.parameters", tools=[tool], tool_choice="required")

    def test_token_ids_outside_the_vocabulary(self):
        for prompt in ([-1], [10**6], [[5], [10**9]]):
            with self.assertRaises(openai.BadRequestError):
                client.completions.create(model=NAME, prompt=prompt)

    def test_broken_json(self):
        deep = b'{"a":' + b"[" * 100_000
        for body in (b"", b"{", b"nonsense", b"[]", b'{"a":"\xff"}', b'{"a":"\\ud800"}', deep, b'{"a":' * 50_000 + b"1",
                     b"\xef\xbb\xbf\xfe", b'{"messages":[' + b"[]," * 2_000_000 + b"[]]}"):
            status, _, text = server.call("POST", "/v1/chat/completions", body)
            self.assertEqual(status, 400, text[:200])
            self.assertEqual(json.loads(text)["error"]["code"], "invalid_json")

    def test_body_too_large(self):
        # The client may see the answer while it is still sending, or after.
        with self.assertRaises(openai.APIStatusError) as caught:
            chat(messages=[{"role": "user", "content": "x" * (9 << 20)}])
        self.assertEqual((caught.exception.status_code, caught.exception.code), (413, "request_too_large"))

    def test_unknown_route_and_method(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.moderations.create(model=NAME, input="x")
        self.assertEqual(caught.exception.code, "unknown_url")
        status, headers, text = server.call("GET", "/v1/chat/completions")
        self.assertEqual((status, headers["Allow"]), (405, "POST, OPTIONS"))
        self.assertEqual(json.loads(text)["error"]["code"], "method_not_supported")
        self.assertEqual(server.call("OPTIONS", "/v1/completions")[0], 204)
        status, headers, text = server.call("HEAD", "/v1/models")
        self.assertEqual((status, text), (200, ""))

    def test_full_queue(self):
        busy = [chat(stream=True, max_tokens=400, temperature=0, extra_body={"ignore_eos": True}) for _ in range(3)]
        try:
            with self.assertRaises(openai.RateLimitError) as caught:
                chat()
            self.assertEqual(caught.exception.code, "queue_full")
            self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)
        finally:
            for stream in busy:
                stream.close()
        server.await_idle()
        self.assertTrue(server.client(max_retries=2).models.list().data)
        self.assertEqual(chat().usage.completion_tokens, 2)


if __name__ == "__main__":
    unittest.main()
