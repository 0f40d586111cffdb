"""lm-evaluation-harness's `local-completions` (echo + logprobs): the score is the model's own.

The requests are the harness's, byte for byte what it sends; the score is compared with one that is
computed from `inhouse logits`. Where the harness itself is installed (`lm_eval` on the PATH, or named
by LM_EVAL), it is run too, with the server's own tokenizer.
"""

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from serving import ROOT, Serving, model, run

NAME = Serving.NAME
ITEMS = os.path.join(ROOT, "tests/fixtures/server/tiny_choice.jsonl")
TASK = """task: tiny_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: %s
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""
server = None
stack = contextlib.ExitStack()


def setUpModule():
    global server
    server = stack.enter_context(Serving())


def tearDownModule():
    stack.close()


def items():
    with open(ITEMS, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ids_of(text):
    return server.post("/tokenize", {"prompt": text, "add_special_tokens": False})[1]["tokens"]


def pairs():
    """(item, choice, ids of context and continuation, length of the context), as the harness cuts them."""
    for number, item in enumerate(items()):
        context = f"Question: {item['question']}\nAnswer:"
        for choice, text in enumerate(item["choices"]):
            yield number, choice, ids_of(f"{context} {text}"), len(ids_of(context))


def score(table):
    """(acc, acc_norm) of {(item, choice): log-likelihood}."""
    right = normal = 0
    for number, item in enumerate(items()):
        scores = [table[number, choice] for choice in range(len(item["choices"]))]
        lengths = [len(text) for text in item["choices"]]
        right += max(range(len(scores)), key=lambda i: scores[i]) == item["answer"]
        normal += max(range(len(scores)), key=lambda i: scores[i] / lengths[i]) == item["answer"]
    return right / len(items()), normal / len(items())


def from_server():
    found, greedy = {}, {}
    every = list(pairs())
    for begin in range(0, len(every), 8):
        batch = every[begin:begin + 8]
        status, answer = server.post("/v1/completions", {
            "model": NAME, "prompt": [ids for _, _, ids, _ in batch], "temperature": 0, "max_tokens": 1, "logprobs": 1,
            "seed": 1234, "echo": True})
        assert status == 200, answer
        choices = sorted(answer["choices"], key=lambda c: c["index"])
        for (number, choice, ids, context), given in zip(batch, choices):
            logprobs = given["logprobs"]
            assert len(logprobs["token_logprobs"]) == len(ids) + 1
            found[number, choice] = sum(logprobs["token_logprobs"][context:-1])
            greedy[number, choice] = all(score == max(top.values()) for score, top in zip(
                logprobs["token_logprobs"][context:-1], logprobs["top_logprobs"][context:-1]))
    return found, greedy


def from_logits():
    found, greedy = {}, {}
    for number, choice, ids, context in pairs():
        rows = json.loads(run("logits", "--model", model(), "--all", "--ids", ",".join(map(str, ids))).stdout)["logits"]
        total, best = 0.0, True
        for i in range(context, len(ids)):
            row = rows[i - 1]
            top = max(row)
            total += row[ids[i]] - top - math.log(sum(math.exp(x - top) for x in row))
            best = best and row[ids[i]] == top
        found[number, choice], greedy[number, choice] = total, best
    return found, greedy


class Harness(unittest.TestCase):
    def test_score_is_the_models_own(self):
        given, given_greedy = from_server()
        expected, expected_greedy = from_logits()
        for key, value in expected.items():
            self.assertAlmostEqual(given[key], value, delta=0.05, msg=str(key))
        self.assertEqual(score(given), score(expected))
        self.assertEqual(given_greedy, expected_greedy)
        print(f"acc {score(given)[0]:.3f}, acc_norm {score(given)[1]:.3f} of {len(items())} items, by server and by logits")
        self.assertGreater(score(given)[0], 0.4)  # far from chance (0.25): nothing is left out in silence

    def test_the_harness_itself(self):
        harness = os.environ.get("LM_EVAL") or shutil.which("lm_eval")
        if not harness:
            print("SKIPPED: lm_eval is not installed (pip install 'lm-eval[api]')", file=sys.stderr)
            self.skipTest("no lm_eval")
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "tiny_choice.yaml"), "w", encoding="utf-8") as task:
                task.write(TASK % ITEMS)
            done = subprocess.run(
                [harness, "run", "--model", "local-completions", "--tasks", "tiny_choice", "--include_path", folder,
                 "--output_path", folder, "--batch_size", "4", "--model_args",
                 f"model={NAME},base_url={server.url}/v1/completions,num_concurrent=2,max_length=2048"],
                capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL,
                env={**os.environ, "HF_HOME": folder, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            results = [os.path.join(at, f) for at, _, files in os.walk(folder) for f in files if f.startswith("results")]
            with open(results[0], encoding="utf-8") as text:
                found = json.load(text)["results"]["tiny_choice"]
        expected = score(from_logits()[0])
        print(f"lm_eval: acc {found['acc,none']:.3f}, acc_norm {found['acc_norm,none']:.3f}")
        self.assertAlmostEqual(found["acc,none"], expected[0])
        self.assertAlmostEqual(found["acc_norm,none"], expected[1])


if __name__ == "__main__":
    unittest.main()
