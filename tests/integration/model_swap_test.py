"""Another model takes over while clients stream: nobody is refused, no answer mixes two models."""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving, model, run  # noqa: E402

NAME = Serving.NAME
PROMPTS = [f"{subject} is" for subject in ("The capital of France", "The largest ocean", "A good name for a cat", "Two and two")]
TOKENS = 16
stack = contextlib.ExitStack()
folder = ""
other = ""


def setUpModule():
    global folder, other
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    other = os.path.join(folder, "int4")
    done = run("quantize", "--model", model(), "--to", "int4", "--out", other)
    if done.returncode != 0:
        raise AssertionError(done.stderr)


def tearDownModule():
    stack.close()


def state(server):
    return json.loads(server.call("GET", "/admin/model")[2])


def swap(server, name, code=202, what="swap", **options):
    status, answer = server.post("/admin/model/" + what, {"model": name, **options})
    if status != code:
        raise AssertionError(f"{status} instead of {code}: {answer}")
    return answer


def ended(server, seconds=60):
    """The last swap, once it has ended."""
    end = time.monotonic() + seconds
    while (last := state(server)["swap"])["ended_at"] is None:
        if time.monotonic() > end:
            raise AssertionError(f"does not end: {last}")
    return last


def stream(server, prompt, **options):
    """(text, set of fingerprints) of a streamed completion; whatever is not a whole answer raises."""
    body = {"model": NAME, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True, **options}
    status, _, text = server.call("POST", "/v1/completions", body)
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event.startswith("data: ")]
    if status != 200 or events[-1:] != ["[DONE]"]:
        raise AssertionError(f"{status}: {text[-500:]}")
    events = [json.loads(event) for event in events[:-1]]
    if events[-1]["choices"][0]["finish_reason"] != "length":
        raise AssertionError(text[-500:])
    return "".join(e["choices"][0]["text"] for e in events), {e["system_fingerprint"] for e in events}


ENDLESS = json.dumps({"model": NAME, "prompt": "On and on", "max_tokens": 100_000, "ignore_eos": True, "stream": True})


def endless(server):
    """A socket on which an answer without end arrives."""
    connection = server.raw(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ENDLESS)}\r\n\r\n{ENDLESS}".encode())
    server.await_metric("vllm:num_requests_running", lambda n: n >= 1)
    return connection


class UnderLoad(unittest.TestCase):
    CLIENTS = 6

    def client(self, server, number):
        turn = number
        while not self.stop.is_set():
            prompt = PROMPTS[turn % len(PROMPTS)]
            turn += 1
            try:
                if turn % 5 == 0:  # other kinds of answers hold an engine, too
                    status, answer = server.post("/v1/embeddings", {"model": NAME, "input": [prompt] * 40})
                    self.assertEqual((status, len(answer["data"])), (200, 40))
                    continue
                self.answers.append((prompt, *stream(server, prompt)))
            except Exception as error:  # noqa: BLE001
                self.failures.append(error)

    def watch(self, server):
        tokens = 0
        while not self.stop.is_set():
            try:
                self.assertEqual(server.call("GET", "/readyz")[0], 200)
                now = server.metric("vllm:generation_tokens_total")
                self.assertGreaterEqual(now, tokens, "a counter went back")
                tokens = now
            except Exception as error:  # noqa: BLE001
                self.failures.append(error)
            time.sleep(0.02)

    def test_streams_go_on(self):
        with Serving("--max-sequences", "8") as server:
            first = model()
            expected = {}

            def learn():
                for prompt in PROMPTS:
                    text, fingerprints = stream(server, prompt)
                    (fingerprint,) = fingerprints
                    expected[fingerprint, prompt] = text
                return fingerprint

            of_first = learn()
            swap(server, other)
            self.assertEqual(ended(server)["status"], "done")
            of_other = learn()
            self.assertNotEqual(of_first, of_other)
            self.assertNotEqual(*[[expected[f, prompt] for prompt in PROMPTS] for f in (of_first, of_other)])

            self.stop, self.answers, self.failures = threading.Event(), [], []
            threads = [threading.Thread(target=self.client, args=(server, n)) for n in range(self.CLIENTS)]
            threads.append(threading.Thread(target=self.watch, args=(server,)))
            for thread in threads:
                thread.start()

            def answered_by(fingerprint):
                """Until every client has had time to be answered by that model."""
                begun = len(self.answers)
                end = time.monotonic() + 60
                while sum(f == {fingerprint} for _, _, f in self.answers[begun:]) < 2 * self.CLIENTS:
                    if self.failures or time.monotonic() > end:
                        return
                    time.sleep(0.01)

            for turn in range(3):
                swap(server, first, keep_previous=turn == 1)
                self.assertEqual(ended(server)["status"], "done")
                answered_by(of_first)
                if turn == 1:  # the other one was kept: it is there at once
                    self.assertEqual(server.post("/admin/model/rollback", {})[0], 200)
                else:
                    swap(server, other, keep_previous=True)
                    self.assertEqual(ended(server)["status"], "done")
                answered_by(of_other)
            self.stop.set()
            for thread in threads:
                thread.join()
            self.assertEqual(self.failures, [])
            for prompt, text, fingerprints in self.answers:
                self.assertEqual(len(fingerprints), 1, "one answer by two models")
                self.assertEqual(text, expected[next(iter(fingerprints)), prompt])
            counts = {f: sum(fs == {f} for _, _, fs in self.answers) for f in (of_first, of_other)}
            self.assertGreater(min(counts.values()), 3 * self.CLIENTS)
            self.assertEqual(server.metric("inhouse_model_swaps_total", outcome="done"), 7)
            self.assertEqual(server.metric("inhouse_model_info", fingerprint=of_other), 1)
            self.assertEqual(server.metric("inhouse_model_info"), 1)
            self.assertLess(time.time() - server.metric("inhouse_model_serving_since_seconds"), 60)
            print(f"7 swaps, {len(self.answers)} streamed answers ({counts}), no failure")


class OneServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(Serving())

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def verb(self, *arguments, code=0):
        done = run("swap", *arguments, "--server", self.server.url, "--json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_broken_checkpoints(self):
        before = stream(self.server, PROMPTS[0])
        broken = os.path.join(folder, "broken")
        shutil.copytree(other, broken)
        weights = os.path.join(broken, "model.safetensors")
        os.truncate(weights, os.path.getsize(weights) // 2)
        answer = swap(self.server, broken, code=400)
        self.assertEqual(answer["error"]["code"], "invalid_model")
        self.assertIn("model.safetensors", answer["error"]["message"])
        config = os.path.join(broken, "config.json")
        shutil.copy(os.path.join(other, "model.safetensors"), weights)
        with open(config) as file:
            facts = json.load(file)
        with open(config, "w") as file:
            json.dump({**facts, "hidden_size": 2 * facts["hidden_size"]}, file)
        self.assertEqual(swap(self.server, broken, code=400)["error"]["code"], "invalid_model")
        self.assertEqual(self.verb("/no/such/model", code=1)["error"]["code"], "not_found")
        self.assertEqual(stream(self.server, PROMPTS[0]), before)
        self.assertEqual(state(self.server)["serving"]["model"], model())

    def test_two_at_once_and_room_made_first(self):
        with endless(self.server):
            swap(self.server, other, unload_first=True)
            answer = swap(self.server, other, code=409)
            self.assertEqual(answer["error"]["code"], "swap_in_progress")
            self.verb("--rollback", code=3)
            self.assertEqual(state(self.server)["swap"]["status"], "waiting")
            status, headers, _ = self.server.call("GET", "/readyz")
            self.assertEqual(status, 503)
            self.assertTrue(headers["Retry-After"].isdigit())
        self.assertEqual(ended(self.server)["status"], "done")  # the client has left
        self.assertEqual(self.server.metric("inhouse_models_resident"), 1)
        self.assertEqual(self.server.call("GET", "/readyz")[0], 200)
        stream(self.server, PROMPTS[0])
        self.assertEqual(self.verb("--rollback")["to"], model())

    def test_the_verb(self):
        begun = state(self.server)["serving"]
        self.assertEqual(self.verb(other, "--keep-previous")["status"], "done")
        said = self.verb("--status")
        self.assertEqual(said["serving"]["model"], other)
        self.assertEqual(said["previous"], {"model": begun["model"], "resident": True})
        started = time.monotonic()
        self.assertEqual(self.verb("--rollback")["status"], "done")
        print(f"inhouse swap --rollback, the model kept in memory: {time.monotonic() - started:.3f} s")
        self.assertEqual(state(self.server)["serving"]["system_fingerprint"], begun["system_fingerprint"])


class Ends(unittest.TestCase):
    def test_drain_while_a_swap_waits(self):
        with Serving() as server:
            body = json.dumps({"model": NAME, "prompt": "Once", "max_tokens": 150, "ignore_eos": True})
            with server.raw(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()) as connection:
                server.await_metric("vllm:num_requests_running", lambda n: n == 1)
                swap(server, other, unload_first=True)
                server.process.send_signal(signal.SIGTERM)
                text = b""
                while piece := connection.recv(65536):
                    text += piece
            self.assertIn(b'"finish_reason":"length"', text)
            self.assertEqual(server.process.wait(30), 0)

    def test_reload(self):
        path = os.path.join(folder, "inhouse.toml")

        def configure(name, adapter_mib=0):
            with open(path, "w") as file:
                file.write(f'[model]\npath = "{name}"\nadapter_mib = {adapter_mib}\n[server]\nserved_names = ["{NAME}"]\n')

        configure(model())
        with Serving("--config", path, model_flag=False) as server:
            before = stream(server, PROMPTS[0])
            configure(other, adapter_mib=1 << 24)
            server.process.send_signal(signal.SIGHUP)
            server.await_metric("inhouse_model_swaps_total", lambda n: n == 1, outcome="refused")
            self.assertRegex(ended(server)["error"], r"memory: value '1\d{4}\.\d+ GiB': expected at most \d+\.\d+ GiB available")
            self.assertEqual(stream(server, PROMPTS[0]), before)
            configure(other)
            server.process.send_signal(signal.SIGHUP)
            server.await_metric("inhouse_model_swaps_total", lambda n: n == 1, outcome="done")
            self.assertNotEqual(stream(server, PROMPTS[0])[1], before[1])
            self.assertEqual(state(server)["serving"]["model"], other)
            swap(server, model())
            self.assertEqual(ended(server)["status"], "done")
            # The file has not changed since: the model that an administrator has chosen stays.
            server.process.send_signal(signal.SIGHUP)
            configure(model())
            server.process.send_signal(signal.SIGHUP)
            server.await_metric("inhouse_model_swaps_total", lambda n: n == 3, outcome="done")
            self.assertEqual(stream(server, PROMPTS[0]), before)


if __name__ == "__main__":
    unittest.main()
