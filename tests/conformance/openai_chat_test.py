"""/v1/models and /v1/chat/completions through the unmodified official client."""

import contextlib
import json
import math
import unittest

from serving import Serving

NAME = Serving.NAME
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving(names=(NAME, "org/second name")))
    client = server.client()


def tearDownModule():
    stack.close()


def chat(text="What is the capital of France?", **options):
    options = {"model": NAME, "temperature": 0, "max_tokens": 24, **options}
    return client.chat.completions.create(messages=[{"role": "user", "content": text}], **options)


class Models(unittest.TestCase):
    def test_list(self):
        self.assertEqual([m.id for m in client.models.list()], [NAME, "org/second name"])

    def test_retrieve(self):
        for name in (NAME, "org/second name"):
            found = client.models.retrieve(name)
            self.assertEqual((found.id, found.object), (name, "model"))
            self.assertGreater(found.created, 1_700_000_000)
            self.assertGreater(found.max_model_len, 0)


class Whole(unittest.TestCase):
    def test_answer(self):
        answer = chat()
        self.assertEqual(answer.object, "chat.completion")
        self.assertTrue(answer.id.startswith("chatcmpl-"))
        self.assertEqual(answer.model, NAME)
        choice = answer.choices[0]
        self.assertEqual((choice.index, choice.message.role, choice.logprobs), (0, "assistant", None))
        self.assertIn("Paris", choice.message.content)
        self.assertIsNone(choice.message.tool_calls)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertGreater(answer.usage.prompt_tokens, 5)
        self.assertEqual(answer.usage.completion_tokens_details.reasoning_tokens, 0)
        self.assertIsNotNone(answer._request_id)

    def test_finish_reasons(self):
        cut = chat(max_tokens=3)
        self.assertEqual(cut.choices[0].finish_reason, "length")
        self.assertEqual(cut.usage.completion_tokens, 3)
        self.assertEqual(chat(max_tokens=200).choices[0].finish_reason, "stop")
        newer = client.chat.completions.create(model=NAME, temperature=0, max_completion_tokens=2, max_tokens=50,
                                               messages=[{"role": "user", "content": "Tell me a story."}])
        self.assertEqual(newer.usage.completion_tokens, 2)

    def test_content_parts_and_roles(self):
        answer = client.chat.completions.create(
            model=NAME, temperature=0, max_tokens=24,
            messages=[{"role": "system", "content": [{"type": "text", "text": "Answer in one word."}]},
                      {"role": "user", "content": [{"type": "text", "text": "What is the capital"},
                                                   {"type": "text", "text": "of France?"}]},
                      {"role": "assistant", "content": "Paris", "reasoning_content": "easy"},
                      {"role": "user", "content": "And of Italy?"}])
        self.assertTrue(answer.choices[0].message.content)

    def test_stop(self):
        whole = chat("Count from 1 to 9, with commas.", max_tokens=40).choices[0].message.content
        self.assertIn("5", whole)
        cut = chat("Count from 1 to 9, with commas.", max_tokens=40, stop=["5", "never"])
        self.assertEqual(cut.choices[0].message.content, whole[:whole.index("5")])
        self.assertEqual(cut.choices[0].finish_reason, "stop")
        one = chat("Count from 1 to 9, with commas.", max_tokens=40, stop="5")
        self.assertEqual(one.choices[0].message.content, cut.choices[0].message.content)

    def test_seed(self):
        def sampled(seed):
            return chat("Write a short poem.", temperature=1.2, seed=seed, max_tokens=30).choices[0].message.content

        self.assertEqual(sampled(11), sampled(11))
        self.assertEqual(len({sampled(seed) for seed in (1, 2, 3, -9)}), 4)

    def test_greedy_repeats(self):
        self.assertEqual(len({chat("Write a short poem.").choices[0].message.content for _ in range(3)}), 1)

    def test_several_choices(self):
        answer = chat("Write a short poem.", n=3, temperature=1.2, seed=3, max_tokens=16)
        self.assertEqual([c.index for c in answer.choices], [0, 1, 2])
        self.assertEqual(len({c.message.content for c in answer.choices}), 3)
        self.assertEqual(answer.usage.completion_tokens, 48)
        alone = chat("Write a short poem.", temperature=1.2, seed=3, max_tokens=16)
        self.assertEqual(answer.choices[0].message.content, alone.choices[0].message.content)
        self.assertEqual(answer.usage.prompt_tokens, alone.usage.prompt_tokens)

    def test_logprobs(self):
        answer = chat(logprobs=True, top_logprobs=4, max_tokens=6)
        content = answer.choices[0].logprobs.content
        self.assertEqual(len(content), answer.usage.completion_tokens)
        self.assertEqual("".join(t.token for t in content), answer.choices[0].message.content)
        for token in content:
            self.assertEqual(bytes(token.bytes).decode(errors="replace"), token.token)
            self.assertEqual(len(token.top_logprobs), 4)
            ranked = [t.logprob for t in token.top_logprobs]
            self.assertEqual(ranked, sorted(ranked, reverse=True))
            self.assertEqual(token.logprob, ranked[0])  # greedy
            self.assertLessEqual(sum(map(math.exp, ranked)), 1.0001)
        plain = chat(logprobs=True, max_tokens=2).choices[0].logprobs.content
        self.assertEqual([t.top_logprobs for t in plain], [[], []])

    def test_logit_bias(self):
        first = chat(logprobs=True, max_tokens=1).choices[0].message.content
        _, tokens = server.post("/tokenize", {"prompt": first, "add_special_tokens": False})
        banned = chat(max_tokens=1, logit_bias={str(tokens["tokens"][0]): -100}).choices[0].message.content
        self.assertNotEqual(first, banned)

    def test_min_tokens_and_ignore_eos(self):
        answer = chat("Say hi.", max_tokens=60, extra_body={"ignore_eos": True})
        self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (60, "length"))

    def test_ignored_and_unknown_fields(self):
        answer = chat(user="u", metadata={"a": "b"}, store=False, service_tier="auto", parallel_tool_calls=True,
                      extra_body={"prompt_cache_key": "k", "cache_salt": "x", "nobody_knows": {"deep": [1]}},
                      response_format={"type": "text"}, max_tokens=2)
        self.assertEqual(answer.usage.completion_tokens, 2)

    def test_continue_final_message(self):
        answer = client.chat.completions.create(
            model=NAME, temperature=0, max_tokens=8, extra_body={"continue_final_message": True},
            messages=[{"role": "user", "content": "What is the capital of France?"},
                      {"role": "assistant", "content": "The capital of France is"}])
        self.assertIn("Paris", answer.choices[0].message.content)

    def test_tools_are_rendered_or_refused_never_lost(self):
        # SmolLM2's template knows no tools: the request is answered all the same.
        answer = chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
                      max_tokens=4)
        self.assertIn(answer.choices[0].finish_reason, ("length", "stop", "tool_calls"))


class Stream(unittest.TestCase):
    def collect(self, text="What is the capital of France?", **options):
        chunks = list(chat(text, stream=True, **options))
        self.assertEqual(len({c.id for c in chunks}), 1)
        self.assertTrue(all(c.object == "chat.completion.chunk" for c in chunks))
        return chunks

    def test_equals_whole(self):
        for options in ({}, {"max_tokens": 5}, {"stop": ["is"]}, {"temperature": 1, "seed": 4}):
            whole = chat(**options).choices[0]
            chunks = self.collect(**options)
            self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), whole.message.content)
            self.assertEqual(chunks[-1].choices[0].finish_reason, whole.finish_reason)
            self.assertEqual([c.choices[0].finish_reason for c in chunks[:-1]], [None] * (len(chunks) - 1))
            self.assertEqual(chunks[0].choices[0].delta.role, "assistant")

    def test_usage(self):
        chunks = self.collect(stream_options={"include_usage": True})
        self.assertEqual(chunks[-1].choices, [])
        whole = chat()
        self.assertEqual(chunks[-1].usage, whole.usage)
        self.assertTrue(all(c.usage is None for c in chunks[:-1]))
        self.assertTrue(all(c.usage is None for c in self.collect()))

    def test_logprobs(self):
        whole = chat(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        streamed = [t for c in self.collect(logprobs=True, top_logprobs=2) if c.choices[0].logprobs
                    for t in c.choices[0].logprobs.content]
        self.assertEqual(streamed, whole)

    def test_choices(self):
        parts = {0: "", 1: ""}
        for chunk in self.collect("Write a short poem.", n=2, temperature=1, seed=8):
            parts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        whole = chat("Write a short poem.", n=2, temperature=1, seed=8)
        self.assertEqual(parts, {c.index: c.message.content for c in whole.choices})

    def test_characters_are_whole(self):
        text = ""
        for chunk in self.collect("Repeat: 你好，世界 😀 é", max_tokens=40):
            piece = chunk.choices[0].delta.content or ""
            self.assertEqual(piece.encode("utf-8", "surrogatepass").decode(), piece)
            text += piece
        self.assertTrue(text)

    def test_frame(self):
        status, headers, body = server.call("POST", "/v1/chat/completions", {
            "model": NAME, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": True})
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/event-stream"))
        self.assertEqual((headers["Cache-Control"], headers["X-Accel-Buffering"]), ("no-cache", "no"))
        events = body.split("\n\n")
        self.assertEqual(events[-2:], ["data: [DONE]", ""])
        for event in events[:-2]:
            self.assertIn("choices", json.loads(event.removeprefix("data: ")))

    def test_stream_helper(self):
        with client.chat.completions.stream(model=NAME, temperature=0, max_tokens=100,
                                            messages=[{"role": "user", "content": "What is the capital of France?"}]) as stream:
            for _ in stream:
                pass
            self.assertTrue(stream.get_final_completion().choices[0].message.content)


if __name__ == "__main__":
    unittest.main()
