"""/v1/completions through the unmodified official client: prompts in every form, echo, logprobs."""

import contextlib
import json
import math
import unittest

import openai

from serving import Serving, model, run

NAME = Serving.NAME
TEXT = "The capital of France is"
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    server = stack.enter_context(Serving())
    client = server.client()


def tearDownModule():
    stack.close()


def complete(prompt=TEXT, **options):
    return client.completions.create(**{"model": NAME, "prompt": prompt, "temperature": 0, "max_tokens": 6, **options})


def ids_of(text):
    return server.post("/tokenize", {"prompt": text})[1]["tokens"]


def log_softmax(row):
    top = max(row)
    total = math.log(sum(math.exp(x - top) for x in row)) + top
    return [x - total for x in row]


def reference(ids):
    """Log probabilities of every position, from `inhouse logits`."""
    done = run("logits", "--model", model(), "--all", "--ids", ",".join(map(str, ids)))
    return [log_softmax(row) for row in json.loads(done.stdout)["logits"]]


class Completions(unittest.TestCase):
    def test_text(self):
        answer = complete()
        self.assertEqual(answer.object, "text_completion")
        self.assertIn("Paris", answer.choices[0].text)
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertIsNone(answer.choices[0].logprobs)
        self.assertEqual(answer.usage.prompt_tokens, len(ids_of(TEXT)))
        self.assertEqual(client.completions.create(model=NAME, prompt=TEXT, extra_body={"ignore_eos": True})
                         .usage.completion_tokens, 16)

    def test_prompt_forms(self):
        ids = ids_of(TEXT)
        text = complete().choices[0].text
        for prompt in ([TEXT], ids, [ids]):
            self.assertEqual(complete(prompt).choices[0].text, text)
        many = complete([TEXT, "Once upon a time", TEXT])
        self.assertEqual([c.index for c in many.choices], [0, 1, 2])
        self.assertEqual([many.choices[i].text == text for i in range(3)], [True, False, True])
        self.assertEqual(many.usage.prompt_tokens, 2 * len(ids) + len(ids_of("Once upon a time")))
        grid = complete([TEXT, "Once upon a time"], n=2, temperature=1, seed=1)
        self.assertEqual([c.index for c in grid.choices], [0, 1, 2, 3])

    def test_stream(self):
        for options in ({}, {"echo": True}, {"stop": ["Paris"]}, {"echo": True, "logprobs": 2}):
            whole = complete(**options)
            chunks = list(complete(stream=True, stream_options={"include_usage": True}, **options))
            self.assertEqual("".join(c.choices[0].text for c in chunks[:-1]), whole.choices[0].text)
            self.assertEqual(chunks[-2].choices[0].finish_reason, whole.choices[0].finish_reason)
            self.assertEqual(chunks[-1].usage, whole.usage)

    def test_best_of(self):
        best = complete("Once upon a time", best_of=4, n=1, temperature=1, seed=5, logprobs=0)
        every = complete("Once upon a time", n=4, temperature=1, seed=5, logprobs=0)
        means = [sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs) for c in every.choices]
        self.assertEqual(best.choices[0].text, every.choices[means.index(max(means))].text)
        self.assertEqual(len(best.choices), 1)

    def test_logprobs(self):
        answer = complete(logprobs=3)
        found = answer.choices[0].logprobs
        self.assertEqual("".join(found.tokens), answer.choices[0].text)
        self.assertEqual(found.text_offset, [len("".join(found.tokens[:i])) for i in range(len(found.tokens))])
        for token, score, top in zip(found.tokens, found.token_logprobs, found.top_logprobs):
            self.assertEqual(top[token], score)
            self.assertEqual(score, max(top.values()))
            self.assertEqual(len(top), 3)

    def test_echo(self):
        answer = complete(echo=True, logprobs=1, max_tokens=1)
        found = answer.choices[0].logprobs
        self.assertEqual(answer.choices[0].text, "".join(found.tokens))
        self.assertTrue(answer.choices[0].text.startswith(TEXT))
        self.assertEqual((found.token_logprobs[0], found.top_logprobs[0]), (None, None))
        self.assertEqual(len(found.tokens), len(ids_of(TEXT)) + 1)
        alone = complete(echo=True, logprobs=1, max_tokens=0)
        self.assertEqual((alone.choices[0].text, alone.usage.completion_tokens), (TEXT, 0))
        self.assertEqual(alone.choices[0].logprobs.token_logprobs, found.token_logprobs[:-1])
        self.assertEqual(complete(echo=True).choices[0].text, TEXT + complete().choices[0].text)

    def test_echo_scores_equal_the_models_logits(self):
        for text in (TEXT, "人工智能 is 😀 fun: x = [1, 2]\n\treturn", "a"):
            ids = ids_of(text)
            rows = reference(ids)
            found = complete(ids, echo=True, logprobs=5, max_tokens=1).choices[0].logprobs
            self.assertEqual(len(found.token_logprobs), len(ids) + 1)
            for i in range(1, len(ids)):
                self.assertAlmostEqual(found.token_logprobs[i], rows[i - 1][ids[i]], delta=2e-2)
                best = max(rows[i - 1])
                self.assertAlmostEqual(max(found.top_logprobs[i].values()), best, delta=2e-2)
            generated = found.token_logprobs[len(ids)]
            self.assertAlmostEqual(generated, max(rows[-1]), delta=2e-2)

    def test_long_echo(self):
        ids = ids_of("All happy families are alike. " * 200)[:1200]
        found = complete([ids, ids], echo=True, logprobs=1, max_tokens=1)
        for choice in found.choices:
            self.assertEqual(len(choice.logprobs.tokens), 1201)
            self.assertEqual(sum(x is None for x in choice.logprobs.token_logprobs), 1)
        self.assertEqual(found.choices[0].logprobs, found.choices[1].logprobs)

    def test_prompt_logprobs(self):
        """vLLM's form of the same scores, for chat too."""
        ids = ids_of(TEXT)
        found = complete(logprobs=1, extra_body={"prompt_logprobs": 3}).choices[0]
        echoed = complete(echo=True, logprobs=3).choices[0].logprobs
        self.assertEqual(len(found.prompt_logprobs), len(ids))
        self.assertIsNone(found.prompt_logprobs[0])
        for i, place in enumerate(found.prompt_logprobs[1:], 1):
            self.assertEqual(place[str(ids[i])]["logprob"], echoed.token_logprobs[i])
            ranked = sorted((c["rank"], c["logprob"]) for c in place.values() if c["rank"])
            self.assertEqual([rank for rank, _ in ranked], [1, 2, 3])
            self.assertEqual(ranked, sorted(ranked, key=lambda pair: -pair[1]))
        self.assertEqual({len(top) for top in found.logprobs.top_logprobs}, {1})
        chat = client.chat.completions.create(model=NAME, max_tokens=1, messages=[{"role": "user", "content": "hi"}],
                                              extra_body={"prompt_logprobs": 0})
        self.assertEqual(len(chat.prompt_logprobs), chat.usage.prompt_tokens)

    def test_bounds_of_choice(self):
        """allowed_token_ids, bad_words and request_id, as vLLM has them."""
        self.assertIn("Paris", complete().choices[0].text)
        self.assertNotIn("Paris", complete(extra_body={"bad_words": ["Paris"]}).choices[0].text)
        allowed = ids_of(" yes no")
        found = complete(logprobs=0, extra_body={"allowed_token_ids": allowed}).choices[0].logprobs
        self.assertTrue(set(found.tokens) <= {" yes", " no"}, found.tokens)
        self.assertEqual(complete(extra_body={"request_id": "my-7"}).id, "cmpl-my-7")
        for bad in ({"allowed_token_ids": []}, {"allowed_token_ids": [10 ** 7]}, {"bad_words": [""]}, {"request_id": "a b"},
                    {"prompt_logprobs": 99}):
            with self.assertRaises(openai.BadRequestError) as caught:
                complete(extra_body=bad)
            self.assertEqual(caught.exception.param, *bad)

    def test_detokenize(self):
        text = "Hello 世界 😀"
        self.assertEqual(server.post("/detokenize", {"tokens": ids_of(text)})[1]["prompt"], text)


if __name__ == "__main__":
    unittest.main()
