"""kill -9, again and again: files, batches and adapters are there afterwards, each answer once, nothing half."""

import json
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from lora_adapter import write_adapter  # noqa: E402
from serving import Serving  # noqa: E402

LINES = 48


def line(number):
    body = {"model": Serving.NAME, "messages": [{"role": "user", "content": f"{number}?"}], "max_tokens": 12, "ignore_eos": True,
            "temperature": 0}
    return json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


def upload(server, name, content):
    """The file's id."""
    mark = "----mark"
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
             f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{content}\r\n', f"--{mark}--\r\n"]
    status, _, text = server.call("POST", "/v1/files", "".join(parts), {"Content-Type": f"multipart/form-data; boundary={mark}"})
    assert status == 200, text
    return json.loads(text)["id"]


def get(server, path):
    status, _, text = server.call("GET", path)
    assert status == 200, (path, text)
    return text


def kill(server):
    server.process.kill()
    server.process.wait()
    server.process.stdout.close()
    server.log.close()


class Killed(unittest.TestCase):
    def await_answers(self, server, batch, count, seconds=90):
        end = time.monotonic() + seconds
        while True:
            found = json.loads(get(server, f"/v1/batches/{batch}"))
            if found["request_counts"]["completed"] >= count or found["status"] in ("completed", "failed", "expired"):
                return found
            self.assertLess(time.monotonic(), end, found)

    def say(self, server):
        status, answer = server.post("/v1/completions", {"model": f"{Serving.NAME}:own", "prompt": "The sea", "max_tokens": 8, "temperature": 0})
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]["text"]

    def test_nothing_is_lost(self):
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--batches-dir", os.path.join(folder, "batches"), "--adapter", "own=" + write_adapter(os.path.join(folder, "own"), 3)]
            server = Serving(*flags)
            files = {upload(server, f"{i}.jsonl", f"content {i} " * (1 + 5000 * i)): f"content {i} " * (1 + 5000 * i) for i in range(4)}
            gone = upload(server, "gone.jsonl", "x")
            self.assertEqual(server.call("DELETE", f"/v1/files/{gone}")[0], 200)
            answer = self.say(server)
            source = upload(server, "batch.jsonl", "\n".join(line(i) for i in range(LINES)))
            status, batch = server.post("/v1/batches", {"input_file_id": source, "endpoint": "/v1/chat/completions", "completion_window": "24h"})
            self.assertEqual(status, 200, batch)
            seen = 0
            for step in range(4):  # the first time at once, then after some more answers each time
                if step > 0:
                    counts = self.await_answers(server, batch["id"], seen + 3)["request_counts"]
                    self.assertGreaterEqual(counts["completed"], seen)
                    seen = counts["completed"]
                half = server.raw(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                                  b"Content-Type: multipart/form-data; boundary=a\r\n\r\n--a\r\n")
                kill(server)
                half.close()
                server = Serving(*flags)
                listed = {file["id"] for file in json.loads(get(server, "/v1/files"))["data"]}
                self.assertEqual(listed, {*files, source})
                for name, content in files.items():
                    self.assertEqual(get(server, f"/v1/files/{name}/content"), content)
                self.assertEqual(self.say(server), answer)
            with server:
                done = self.await_answers(server, batch["id"], LINES + 1)
                self.assertEqual((done["status"], done["request_counts"]["completed"]), ("completed", LINES))
                answers = [json.loads(text) for text in get(server, f"/v1/files/{done['output_file_id']}/content").splitlines()]
                self.assertEqual([a["custom_id"] for a in answers], [f"line-{i}" for i in range(LINES)])
                self.assertEqual({a["response"]["status_code"] for a in answers}, {200})
                # What was answered before a kill and after it is what one server answers.
                same = server.post("/v1/chat/completions", json.loads(line(0))["body"])[1]["choices"][0]["message"]["content"]
                self.assertEqual(answers[0]["response"]["body"]["choices"][0]["message"]["content"], same)
                on_disk = os.listdir(os.path.join(folder, "batches/files"))
                self.assertEqual(sorted(on_disk), sorted({*files, source, done["output_file_id"]}))
                self.assertEqual(os.stat(os.path.join(folder, "batches")).st_mode & 0o777, 0o700)


if __name__ == "__main__":
    unittest.main()
