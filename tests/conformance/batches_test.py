"""/v1/files and /v1/batches through the unmodified official client. Through kills: integration/server_kill_test.py."""

import contextlib
import io
import json
import tempfile
import time
import unittest

import openai

from serving import Serving

NAME = Serving.NAME
server = None
client = None
stack = contextlib.ExitStack()


def setUpModule():
    global server, client
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    server = stack.enter_context(Serving("--batches-dir", directory))
    client = server.client()


def tearDownModule():
    stack.close()


def chat_line(number, **body):
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": {
        "model": NAME, "max_tokens": 4, "temperature": 0,
        "messages": [{"role": "user", "content": f"Count from {number}"}], **body}}


def upload(lines, client=None, **options):
    text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
    return (client or globals()["client"]).files.create(file=("in.jsonl", io.BytesIO(text.encode())), purpose="batch", **options)


def start(lines, client=None, endpoint="/v1/chat/completions", **options):
    client = client or globals()["client"]
    return client.batches.create(input_file_id=upload(lines, client).id, endpoint=endpoint, completion_window="24h", **options)


def wait(batch, accept, client=None, seconds=60):
    end = time.monotonic() + seconds
    while not accept(batch):
        if time.monotonic() > end:
            raise AssertionError(f"still {batch}")
        time.sleep(0.05)
        batch = (client or globals()["client"]).batches.retrieve(batch.id)
    return batch


def ended(batch):
    return batch.status in ("completed", "failed", "expired", "cancelled")


def lines_of(file_id, client=None):
    text = (client or globals()["client"]).files.content(file_id).text
    return [json.loads(line) for line in text.splitlines()]


class Files(unittest.TestCase):
    def test_life_of_a_file(self):
        text = "first\r\nzweite Zeile ü\n"
        made = client.files.create(file=("näme.jsonl", text.encode()), purpose="batch")
        self.assertEqual((made.object, made.bytes, made.filename, made.purpose, made.status),
                         ("file", len(text.encode()), "näme.jsonl", "batch", "processed"))
        self.assertEqual(client.files.retrieve(made.id), made)
        self.assertEqual(client.files.content(made.id).content, text.encode())
        self.assertTrue(client.files.delete(made.id).deleted)
        for call in (client.files.retrieve, client.files.content, client.files.delete):
            with self.assertRaises(openai.NotFoundError):
                call(made.id)

    def test_pages(self):
        ids = [upload("{}").id for _ in range(5)]
        self.assertEqual([f.id for f in client.files.list(limit=2)][:5], ids[::-1])
        self.assertEqual(len(client.files.list(limit=2).data), 2)
        self.assertNotIn(ids[0], [f.id for f in client.files.list(purpose="batch_output")])

    def test_expiry(self):
        made = upload("{}", expires_after={"anchor": "created_at", "seconds": 3600})
        self.assertEqual(made.expires_at, made.created_at + 3600)

    def test_errors(self):
        for param, call in (("purpose", lambda: client.files.create(file=b"x", purpose="fine-tune")),
                            ("limit", lambda: client.files.list(limit=0)),
                            ("expires_after.seconds", lambda: upload("x", expires_after={"anchor": "created_at", "seconds": 1}))):
            with self.assertRaises(openai.BadRequestError) as caught:
                call()
            self.assertEqual(caught.exception.param, param)
        self.assertEqual(server.post("/v1/files", {"file": "x"})[0], 400)


class Batches(unittest.TestCase):
    def test_chat(self):
        lines = [chat_line(i) for i in range(20)] + [chat_line(20, temperature=9), chat_line(21, stream=True)]
        batch = wait(start(lines, metadata={"job": "7"}), ended)
        self.assertEqual((batch.object, batch.status, batch.metadata), ("batch", "completed", {"job": "7"}))
        self.assertEqual((batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed), (22, 20, 2))
        self.assertTrue(batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at)
        answers = lines_of(batch.output_file_id)
        self.assertEqual([a["custom_id"] for a in answers], [f"line-{i}" for i in range(20)])
        alone = client.chat.completions.create(**lines[3]["body"])
        self.assertEqual(answers[3]["response"]["body"]["choices"][0]["message"]["content"], alone.choices[0].message.content)
        self.assertEqual((answers[3]["response"]["status_code"], answers[3]["error"]), (200, None))
        errors = {e["custom_id"]: e["response"] for e in lines_of(batch.error_file_id)}
        self.assertEqual({k: (v["status_code"], v["body"]["error"]["param"]) for k, v in errors.items()},
                         {"line-20": (400, "temperature"), "line-21": (400, "stream")})
        self.assertEqual(client.files.retrieve(batch.output_file_id).purpose, "batch_output")
        self.assertIn(batch.id, [b.id for b in client.batches.list(limit=1)])

    def test_other_endpoints(self):
        for endpoint, body in (("/v1/embeddings", {"input": "hello"}), ("/v1/completions", {"prompt": "a", "max_tokens": 2}),
                               ("/v1/responses", {"input": "hello", "max_output_tokens": 2})):
            line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": NAME, **body}}
            batch = wait(start([line], endpoint=endpoint), ended)
            self.assertEqual((batch.status, batch.error_file_id), ("completed", None), endpoint)

    def test_bad_input_fails(self):
        bad = [chat_line(1), chat_line(1), {**chat_line(2), "url": "/v1/completions"}, {**chat_line(3), "method": "GET"},
               {**chat_line(4), "custom_id": ""}, {**chat_line(5), "body": None}]
        text = "".join(json.dumps(line) + "\n" for line in bad) + "no json\n"
        batch = wait(start(text), ended)
        self.assertEqual((batch.status, batch.output_file_id), ("failed", None))
        self.assertEqual([(e.line, e.code) for e in batch.errors.data],
                         [(2, "duplicate_custom_id"), (3, "invalid_url"), (4, "invalid_method"),
                          (5, "missing_required_parameter"), (6, "missing_required_parameter"), (7, "invalid_json_line")])
        self.assertEqual(wait(start("\n"), ended).errors.data[0].code, "empty_file")

    def test_cancel(self):
        batch = start([chat_line(i, max_tokens=200, ignore_eos=True) for i in range(100)])
        batch = wait(client.batches.cancel(batch.id), ended)
        self.assertEqual(batch.status, "cancelled")
        self.assertIsNotNone(batch.cancelling_at)
        files = [lines_of(f) for f in (batch.output_file_id, batch.error_file_id) if f]
        self.assertEqual(sorted(a["custom_id"] for a in sum(files, [])), sorted(f"line-{i}" for i in range(100)))
        with self.assertRaises(openai.ConflictError):
            client.batches.cancel(batch.id)

    def test_errors(self):
        file = upload([chat_line(1)])
        for param, options in (("endpoint", {"endpoint": "/v1/audio"}), ("completion_window", {"completion_window": "1h"}),
                               ("metadata", {"metadata": {"a": "x" * 600}})):
            with self.assertRaises(openai.BadRequestError) as caught:
                client.batches.create(**{"input_file_id": file.id, "endpoint": "/v1/chat/completions",
                                         "completion_window": "24h", **options})
            self.assertEqual(caught.exception.param, param)
        for call in (lambda: client.batches.retrieve("batch_1"), lambda: client.batches.cancel("batch_1"),
                     lambda: client.batches.create(input_file_id="file-1", endpoint="/v1/completions", completion_window="24h")):
            with self.assertRaises(openai.NotFoundError):
                call()

    def test_off_by_default(self):
        with Serving() as plain, self.assertRaisesRegex(openai.NotFoundError, "--batches-dir"):
            plain.client().files.list()


if __name__ == "__main__":
    unittest.main()
