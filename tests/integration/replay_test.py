"""Recorded answers of every route, replayed through the binary: the same bytes, or the first difference."""

import concurrent.futures
import json
import os
import shutil
import stat
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from lora_adapter import write_adapter  # noqa: E402
from serving import DEMO, Serving, run  # noqa: E402

NAME = Serving.NAME
STORY = "The hospital in the valley has a library of old letters. " * 14
CITY = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "capital": {"type": "boolean"}},
        "required": ["name", "capital"]}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": CITY}}


def chat(**fields):
    return "/v1/chat/completions", {"model": NAME, "max_tokens": 24, "temperature": 1.1,
                                    "messages": [{"role": "user", "content": "Tell me about Paris."}], **fields}


# What is asked at the same time, and of which answer the id is.
REQUESTS = {
    "drawn": chat(n=3),
    "scored": chat(logprobs=True, top_logprobs=4, prompt_logprobs=1, min_p=0.05, frequency_penalty=0.5),
    "stopped": chat(stop=[" the", "."], max_tokens=64, seed=5),
    "long": chat(messages=[{"role": "system", "content": STORY}, {"role": "user", "content": "What is there?"}]),
    "schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}},
                   max_tokens=60),
    "tool": chat(tools=[TOOL], tool_choice="required", max_tokens=80),
    "adapted": chat(model=NAME + ":red"),
    "biased": chat(logit_bias={"260": 4}, allowed_token_ids=list(range(200, 900)), bad_words=["city"], top_k=40),
    "text": ("/v1/completions", {"model": NAME, "prompt": ["Once upon", "A long"], "n": 2, "max_tokens": 8,
                                 "logprobs": 2, "echo": True}),
    "choice": ("/v1/completions", {"model": NAME, "prompt": "Yes or no?", "max_tokens": 8,
                                   "structured_outputs": {"regex": "(yes|no|may(be)?)+"}}),
    "response": ("/v1/responses", {"model": NAME, "input": "Say hello.", "max_output_tokens": 16}),
    "message": ("/v1/messages", {"model": NAME, "max_tokens": 16, "messages": [{"role": "user", "content": "Hello!"}]}),
}


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.place.cleanup)
        cls.record = os.path.join(cls.place.name, "record")
        cls.red = write_adapter(os.path.join(cls.place.name, "red"), 3, modules=("self_attn.q_proj", "mlp.down_proj"))
        with Serving("--record", cls.record, "--adapter", f"red={cls.red}", "--batches-dir",
                     os.path.join(cls.place.name, "batches"), "--max-sequences", "6", "--prefill-chunk", "96",
                     "--context", "1024") as server:
            with concurrent.futures.ThreadPoolExecutor(len(REQUESTS)) as pool:
                asked = {name: pool.submit(server.post, *request) for name, request in REQUESTS.items()}
                cls.answers = {name: answer.result() for name, answer in asked.items()}
            cls.turn(server)
            cls.stream(server)
            cls.batch(server)
            cls.embed(server)

    @classmethod
    def turn(cls, server):
        """A second turn, whose beginning the prefix cache has."""
        path, body = REQUESTS["long"]
        said = cls.answers["long"][1]["choices"][0]["message"]["content"]
        messages = [*body["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "More."}]
        cls.answers["turn"] = server.post(path, {**body, "messages": messages})

    @classmethod
    def stream(cls, server):
        path, body = chat(stream=True)
        status, _, text = server.call("POST", path, body, headers={"x-request-id": "ticket-4711"})
        assert status == 200 and "[DONE]" in text
        # A client that leaves: no answer, no record.
        with server.raw() as gone:
            body = json.dumps({**chat(stream=True, max_tokens=500, ignore_eos=True)[1]})
            gone.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nx-request-id: gone\r\nContent-Length: {len(body)}\r\n\r\n"
                         f"{body}".encode())
            gone.recv(100)
        server.await_idle()

    @classmethod
    def batch(cls, server):
        client = server.client()
        lines = "\n".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions",
                                      "body": chat(max_tokens=6)[1]}) for i in range(2))
        file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        end = time.monotonic() + 60
        while batch.status != "completed":
            assert time.monotonic() < end, batch
            batch = client.batches.retrieve(batch.id)
        output = client.files.content(batch.output_file_id).text.splitlines()
        cls.batch_ids = [json.loads(line)["response"]["request_id"] for line in output]

    @classmethod
    def embed(cls, server):
        status, _, _ = server.call("POST", "/v1/embeddings", {"model": NAME, "input": ["one", "two words"]},
                                   headers={"x-request-id": "vectors"})
        assert status == 200

    def replay(self, name, *flags):
        return run("replay", name, "--record", self.record, *flags)

    def path_of(self, name):
        """The file of an answer."""
        for file in os.listdir(self.record):
            with open(os.path.join(self.record, file), encoding="utf-8") as opened:
                if json.load(opened)["id"] == name:
                    return os.path.join(self.record, file)
        raise AssertionError(name)

    def test_every_kind_of_answer_comes_out_the_same(self):
        ids = {name: answer["id"] for name, (status, answer) in self.answers.items() if status == 200}
        self.assertEqual(len(ids), len(REQUESTS) + 1, self.answers)
        ids |= {"stream": "ticket-4711", "embedding": "vectors", "batch": self.batch_ids[1]}

        def check(item):
            done = self.replay(item[1], "--json", "-t", "1")
            self.assertEqual(done.returncode, 0, (item, done.stderr, done.stdout))
            told = json.loads(done.stdout)
            self.assertTrue(told["same"])
            self.assertEqual(told["changed"], {})
            return told

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            told = dict(zip(ids, pool.map(check, ids.items())))
        self.assertEqual(told["drawn"]["choices"], 3)
        usage = self.answers["drawn"][1]["usage"]
        self.assertEqual(told["drawn"]["answer_tokens"], usage["completion_tokens"])
        self.assertEqual(told["text"]["choices"], 4)
        self.assertEqual(told["stream"]["request_id"], "ticket-4711")
        self.assertEqual(told["embedding"]["answer_tokens"], 0)
        texts = {choice["message"]["content"] for choice in self.answers["drawn"][1]["choices"]}
        self.assertGreater(len(texts), 1, "seeds were drawn")

    def test_the_record_holds_what_was_asked(self):
        """Where a field is forgotten, the replay must fail: each of these decides about the answer."""
        for name, fields in (("schema", ("grammar",)), ("adapted", ("adapter",)), ("biased", ("allowed_ids",)),
                             ("drawn", ("sampling", "seed"))):
            path = self.path_of(self.answers[name][1]["id"])
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            request = record["sequences"][0]["request"]
            if name == "schema":
                self.assertEqual(request["grammar"]["kind"], "json_schema")
                del request["grammar"]
            elif name == "drawn":
                request["sampling"]["seed"] += 1
            else:
                request[fields[0]] = type(request[fields[0]])()
            changed = path.replace(".json", ".changed")
            os.rename(path, changed)
            try:
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(record, file)
                done = self.replay(record["id"])
                self.assertEqual(done.returncode, 1, (name, done.stdout))
                self.assertRegex(done.stdout, r"choice 0, token \d+: \d+ now, \d+ recorded")
            finally:
                os.replace(changed, path)

    def test_what_differs_is_said(self):
        answer = self.answers["scored"][1]["id"]
        path = self.path_of(answer)
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        isa, build = record["engine"]["isa"], record["engine"]["build"]
        self.assertRegex(build, "^[0-9a-f]{16,}$")
        elsewhere = tempfile.mkdtemp(dir=self.place.name)
        record["engine"] |= {"build": "0123", "isa": "neon"}
        record["sequences"][0]["output"]["logprobs"][3][1] -= 1e-6
        with open(os.path.join(elsewhere, os.path.basename(path)), "w", encoding="utf-8") as file:
            json.dump(record, file)
        done = run("replay", answer, "--record", elsewhere)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("log probability of token 3", done.stdout)
        self.assertIn(f"build: 0123 recorded, {build} now", done.stdout)
        self.assertIn(f"isa: neon recorded, {isa} now", done.stdout)
        self.assertIn("promised for the same build", done.stdout)

    def test_other_models_and_adapters_are_refused(self):
        other = self.replay(self.answers["drawn"][1]["id"], "-m", "tests/fixtures/models/llama")
        self.assertNotEqual(other.returncode, 0)
        self.assertIn("expected the model that gave the recorded answer", other.stderr)
        green = write_adapter(os.path.join(self.place.name, "green"), 4, modules=("self_attn.q_proj",))
        adapted = self.replay(self.answers["adapted"][1]["id"], "--adapter", green)
        self.assertIn("expected the adapter that gave the recorded answer", adapted.stderr)
        moved = shutil.copytree(self.red, os.path.join(self.place.name, "moved"))
        self.assertEqual(self.replay(self.answers["adapted"][1]["id"], "--adapter", moved).returncode, 0)

    def test_what_cannot_be_replayed(self):
        for name in ("chatcmpl-never", "gone"):
            missing = self.replay(name)
            self.assertEqual(missing.returncode, 1)
            self.assertIn(name, missing.stderr)
        path = self.path_of(self.answers["stopped"][1]["id"])
        elsewhere = tempfile.mkdtemp(dir=self.place.name)
        half = os.path.join(elsewhere, os.path.basename(path))
        shutil.copy(path, half)
        os.truncate(half, os.path.getsize(half) // 2)
        done = run("replay", self.answers["stopped"][1]["id"], "--record", elsewhere)
        self.assertEqual(done.returncode, 1)
        self.assertIn(half, done.stderr)

    def test_nobody_else_can_read_it(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.record).st_mode), 0o700)
        for name in os.listdir(self.record):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.record, name)).st_mode), 0o600)

    def test_a_directory_that_cannot_be_written_ends_the_start(self):
        refused = run("serve", "--model", DEMO, "--port", "0", "--record", "/proc/nowhere")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("/proc/nowhere: cannot create", refused.stderr)


if __name__ == "__main__":
    unittest.main()
