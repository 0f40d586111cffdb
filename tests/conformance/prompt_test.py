"""`render` and `parse` against the goldens of tests/fixtures/prompt, line by line through the binary.

    tests/conformance/prompt_test.py [DIR]     # another directory of the same shape, packed or not
"""

import gzip
import json
import os
import subprocess
import sys
import unittest

BIN = os.environ.get("INHOUSE_BIN", "build/dev/inhouse")
ROOT = "tests/fixtures/prompt"


def goldens(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file.read().split("\n") if line]


def ask(arguments, lines):
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    run = subprocess.run([BIN, *arguments, "--jsonl"], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode().split("\n") if line]


def files(folder):
    return sorted(os.path.join(ROOT, folder, name) for name in os.listdir(os.path.join(ROOT, folder)))


def name_of(path):
    return os.path.basename(path).split(".jsonl")[0]


class PromptTest(unittest.TestCase):
    def compare(self, path, answers, member):
        cases = goldens(path)
        self.assertEqual(len(answers), len(cases))
        for case, answer in zip(cases, answers):
            with self.subTest(file=name_of(path), case=case["name"]):
                if case.get("error"):
                    self.assertIn("error", answer)
                    self.assertNotIn("prompt", answer)
                else:
                    self.assertEqual(answer.get("prompt"), case[member], answer.get("error"))

    def test_jinja(self):
        path = next(p for p in (ROOT + "/jinja.jsonl.gz", ROOT + "/jinja/cases.jsonl") if os.path.exists(p))
        lines = [{"template": case["template"], **case["variables"]} for case in goldens(path)]
        self.compare(path, ask(["render"], lines), "output")

    def test_templates(self):
        for path in files("render"):
            template = f"{ROOT}/templates/{name_of(path)}.jinja"
            self.compare(path, ask(["render", "--template", template], [c["input"] for c in goldens(path)]), "prompt")

    def test_encodings(self):
        for path in files("encode"):
            self.compare(path, ask(["render", "--format", name_of(path)], [c["input"] for c in goldens(path)]), "prompt")

    def test_parsers(self):
        def by_value(output):
            return {**output, "reasoning": output["reasoning"] or None,
                    "tool_calls": [(c["name"], json.loads(c["arguments"])) for c in output["tool_calls"]]}

        for path in files("parse"):
            answers = ask(["parse", "--format", name_of(path)], [c["input"] for c in goldens(path)])
            for case, answer in zip(goldens(path), answers, strict=True):
                with self.subTest(file=name_of(path), case=case["name"]):
                    if name_of(path) == "qwen3":
                        self.assertEqual(by_value(answer), by_value(case["output"]))
                    else:
                        self.assertEqual(answer, case["output"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ROOT = sys.argv.pop(1)
    unittest.main()
