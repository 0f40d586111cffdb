"""Keys, quotas, address lists, inhouse.toml, the request log and reloads, with the real binary."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import BINARY, ROOT, Serving, model, run  # noqa: E402

NAME = Serving.NAME
stack = contextlib.ExitStack()
folder = ""
server = None
keys = {}


def path(name):
    return os.path.join(folder, name)


def write(name, text, mode=0o600):
    with open(path(name), "w") as file:
        file.write(text)
    os.chmod(path(name), mode)


def keys_verb(*arguments, code=0, file="keys.toml"):
    done = run("keys", *arguments, "--keys", path(file), "--json")
    if done.returncode != code:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def create(name, *flags):
    keys[name] = keys_verb("create", "--name", name, *flags)["key"]
    return keys[name]


CONFIG = """
[server]
port = 0
header_seconds = 1
batches_dir = "{folder}/batches"
[guard]
keys = "{folder}/keys.toml"
deny = [{deny}]
[quota]
concurrent = 50
[log]
requests = "{folder}/requests.jsonl"
"""


def setUpModule():
    global folder, server
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    create("alice")
    create("prometheus", "--role", "monitor")
    create("root", "--role", "admin")
    create("daily", "--requests-per-day", "2")
    create("slow", "--requests-per-minute", "1", "--tokens-per-minute", "300")
    create("elsewhere", "--allow", "192.0.2.0/24")
    create("other-model", "--model", "something-else")
    create("vectors", "--scope", "embed", "--scope", "batch")
    create("short", "--tokens-per-minute", "60")
    create("tiny", "--tokens-per-minute", "5")
    write("inhouse.toml", CONFIG.format(folder=folder, deny=""))
    server = stack.enter_context(Serving("--config", path("inhouse.toml")))


def tearDownModule():
    stack.close()


def bearer(name):
    return {"Authorization": "Bearer " + keys[name]}


def ask(name, content="Say hello.", **options):
    body = {"model": NAME, "messages": [{"role": "user", "content": content}], "max_tokens": 2, **options}
    return server.call("POST", "/v1/chat/completions", body, bearer(name) if name else None)


def status(target, name):
    return server.call("GET", target, headers=bearer(name) if name else None)[0]


def hang_up(expect):
    """SIGHUP, then waits until the log says so once more."""
    before = server.stderr().count(expect)
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while server.stderr().count(expect) == before:
        if time.monotonic() > end:
            raise AssertionError(f"no {expect!r} in\n{server.stderr()[-2000:]}")


class Keys(unittest.TestCase):
    def test_life_of_a_key(self):
        made = keys_verb("create", "--name", "x", "--scope", "chat", "--expires-in", "90d", "--concurrent", "0", file="life.toml")
        self.assertRegex(made["key"], r"^ih_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}$")
        self.assertEqual((made["state"], made["role"], made["scopes"], made["concurrent"]), ("active", "", ["chat"], 0))
        self.assertEqual(stat.S_IMODE(os.stat(path("life.toml")).st_mode), 0o600)
        with open(path("life.toml")) as file:
            text = file.read()
        self.assertNotIn(made["key"][12:], text)
        self.assertIn(made["key"][:11], text)
        rotated = keys_verb("rotate", "x", "--grace", "7d", file="life.toml")
        self.assertEqual(rotated["id"], made["id"])
        self.assertNotEqual(rotated["key"], made["key"])
        listed = keys_verb("list", file="life.toml")["keys"]
        self.assertEqual([len(key["secrets"]) for key in listed], [2])
        self.assertNotIn("key", listed[0])
        self.assertEqual(keys_verb("revoke", rotated["key"][:11], file="life.toml")["state"], "revoked")
        self.assertEqual(keys_verb("list", file="life.toml")["keys"], [])
        self.assertEqual(len(keys_verb("list", "--all", file="life.toml")["keys"]), 1)
        self.assertEqual(keys_verb("rotate", "x", code=3, file="life.toml")["error"]["code"], "failed_precondition")

    def test_wrong_words(self):
        self.assertEqual(keys_verb("revoke", "nobody", code=1, file="life.toml")["error"]["field"], "KEY")
        for flags in (["--allow", "10.0.0.1/8"], ["--expires-in", "soon"]):
            self.assertIn("error", keys_verb("create", *flags, code=1, file="none.toml"))
        self.assertFalse(os.path.exists(path("none.toml")))
        for flags in (["--role", "king"], ["--scope", "fly"], ["--requests-per-day", "-1"]):
            self.assertEqual(run("keys", "create", *flags).returncode, 2)

    def test_a_file_that_others_can_read_is_refused(self):
        write("open.toml", "", mode=0o644)
        refused = keys_verb("list", code=3, file="open.toml")
        self.assertIn("chmod 600", refused["error"]["message"])


class Door(unittest.TestCase):
    def test_official_client(self):
        import openai

        good = openai.OpenAI(base_url=server.url + "/v1", api_key=keys["alice"], max_retries=0)
        self.assertEqual([m.id for m in good.models.list()], [NAME])
        answer = good.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "hi"}], max_tokens=2)
        self.assertEqual(answer.usage.completion_tokens, 2)
        wrong = openai.OpenAI(base_url=server.url + "/v1", api_key="sk-none", max_retries=0)
        with self.assertRaises(openai.AuthenticationError) as caught:
            wrong.models.list()
        self.assertEqual(caught.exception.code, "invalid_api_key")
        monitor = openai.OpenAI(base_url=server.url + "/v1", api_key=keys["prometheus"], max_retries=0)
        with self.assertRaises(openai.PermissionDeniedError):
            monitor.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "hi"}])

    def test_every_route(self):
        for target in ("/health", "/metrics", "/version", "/v1/models", "/tokenizer_info", "/nowhere"):
            self.assertEqual(status(target, None), 401, target)
        self.assertEqual((status("/livez", None), status("/readyz", None)), (200, 200))
        self.assertEqual((status("/metrics", "alice"), status("/metrics", "prometheus"), status("/metrics", "root")), (403, 200, 200))
        self.assertEqual(status("/nowhere", "alice"), 404)

    def test_lists_of_a_key(self):
        self.assertEqual(ask("elsewhere")[0], 403)
        code, _, text = ask("other-model")
        self.assertEqual((code, json.loads(text)["error"]["code"]), (403, "model_not_allowed"))
        self.assertEqual(json.loads(server.call("GET", "/v1/models", headers=bearer("other-model"))[2])["data"], [])

    def test_requests_per_minute(self):
        code, headers, _ = ask("slow")
        self.assertEqual((code, headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]), (200, "1", "0"))
        self.assertEqual(headers["x-ratelimit-limit-tokens"], "300")
        self.assertLess(int(headers["x-ratelimit-remaining-tokens"]), 300)
        code, headers, text = ask("slow")
        self.assertEqual((code, json.loads(text)["error"]["code"]), (429, "rate_limit_exceeded"))
        self.assertTrue(0 < int(headers["Retry-After"]) <= 60)

    def test_a_forged_header_moves_nobody(self):
        code, _, _ = server.call("GET", "/v1/models", headers={**bearer("elsewhere"), "X-Forwarded-For": "192.0.2.7"})
        self.assertEqual(code, 403)


class Batches(unittest.TestCase):
    @staticmethod
    def client(name):
        import openai

        return openai.OpenAI(base_url=server.url + "/v1", api_key=keys[name], max_retries=0)

    @staticmethod
    def lines(count=2):
        body = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        return "".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": body}) + "\n"
                       for i in range(count)).encode()

    def start(self, name, count=2):
        client = self.client(name)
        file = client.files.create(file=("in.jsonl", self.lines(count)), purpose="batch")
        return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")

    def end(self, name, batch):
        end = time.monotonic() + 60
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            self.assertLess(time.monotonic(), end, batch)
            batch = self.client(name).batches.retrieve(batch.id)
        return batch

    def test_each_key_finds_its_own(self):
        import openai

        batch = self.end("alice", self.start("alice"))
        self.assertEqual((batch.status, batch.request_counts.completed), ("completed", 2))
        mine = {batch.input_file_id, batch.output_file_id}
        self.assertLessEqual(mine, {f.id for f in self.client("alice").files.list()})
        self.assertLessEqual(mine, {f.id for f in self.client("root").files.list()})
        self.assertIn(batch.id, [b.id for b in self.client("root").batches.list()])
        stranger = self.client("vectors")
        self.assertEqual(list(stranger.files.list()), [])
        self.assertEqual(list(stranger.batches.list()), [])
        for act in (lambda f: stranger.files.retrieve(f), lambda f: stranger.files.content(f), lambda f: stranger.files.delete(f),
                    lambda f: stranger.batches.create(input_file_id=f, endpoint="/v1/embeddings", completion_window="24h")):
            for file in mine:
                with self.assertRaises(openai.NotFoundError):
                    act(file)
        for act in (stranger.batches.retrieve, stranger.batches.cancel):
            with self.assertRaises(openai.NotFoundError):
                act(batch.id)
        self.assertEqual(len(self.client("alice").files.content(batch.output_file_id).text.splitlines()), 2)
        with self.assertRaises(openai.PermissionDeniedError):
            self.client("prometheus").files.list()

    def test_lines_may_do_what_their_key_may(self):
        import openai

        with self.assertRaises(openai.PermissionDeniedError):
            self.start("vectors")
        batch = self.end("other-model", self.start("other-model"))
        self.assertEqual((batch.status, batch.request_counts.failed), ("completed", 2))
        for line in self.client("other-model").files.content(batch.error_file_id).text.splitlines():
            self.assertEqual(json.loads(line)["response"]["status_code"], 403)


    def test_a_key_without_tokens_rests_and_others_go_on(self):
        resting = self.start("short", 20)  # more than its minute allows
        batch = self.end("alice", self.start("alice"))
        self.assertEqual((batch.status, batch.request_counts.completed), ("completed", 2))
        resting = self.client("short").batches.retrieve(resting.id)
        self.assertEqual((resting.status, resting.request_counts.failed), ("in_progress", 0))
        self.assertLess(resting.request_counts.completed, 20)
        self.assertEqual(self.end("short", self.client("short").batches.cancel(resting.id)).status, "cancelled")
        # What no minute will ever allow fails at once.
        batch = self.end("tiny", self.start("tiny"))
        self.assertEqual((batch.status, batch.request_counts.failed), ("completed", 2))


class Reload(unittest.TestCase):
    def test_keys(self):
        create("late")
        self.assertEqual(status("/v1/models", "late"), 401)
        hang_up("keys and lists read again")
        self.assertEqual(status("/v1/models", "late"), 200)
        old = keys["late"]
        keys["late"] = keys_verb("rotate", "late", "--grace", "1h")["key"]
        hang_up("keys and lists read again")
        self.assertEqual(status("/v1/models", "late"), 200)
        self.assertEqual(server.call("GET", "/v1/models", headers={"x-api-key": old})[0], 200)
        keys_verb("revoke", "late")
        hang_up("keys and lists read again")
        self.assertEqual(status("/v1/models", "late"), 401)
        self.assertEqual(server.call("GET", "/v1/models", headers={"x-api-key": old})[0], 401)

    def test_lists_and_mistakes(self):
        try:
            write("inhouse.toml", CONFIG.format(folder=folder, deny='"127.0.0.0/8"'))
            hang_up("keys and lists read again")
            self.assertEqual(status("/livez", None), 403)
            write("inhouse.toml", CONFIG.format(folder=folder, deny='"127.0.0.1/8"'))
            hang_up("nothing was reloaded")
            self.assertIn("inhouse.toml:8: guard.deny", server.stderr())
            self.assertEqual(status("/livez", None), 403)
        finally:
            write("inhouse.toml", CONFIG.format(folder=folder, deny="").replace("header_seconds = 1", "header_seconds = 2"))
            hang_up("server.header_seconds has changed, which takes a restart")
        others = [line for line in server.stderr().splitlines() if "takes a restart" in line and "header_seconds" not in line]
        self.assertEqual(others, [])
        self.assertEqual(status("/v1/models", "alice"), 200)

    def test_a_lost_keys_file_opens_nothing(self):
        os.rename(path("keys.toml"), path("moved.toml"))
        try:
            hang_up("nothing was reloaded")
            self.assertEqual((status("/v1/models", None), status("/v1/models", "alice")), (401, 200))
        finally:
            os.rename(path("moved.toml"), path("keys.toml"))


class Log(unittest.TestCase):
    def lines(self, name="requests.jsonl"):
        with open(path(name)) as file:
            return [json.loads(line) for line in file]

    def await_line(self, request_id):
        end = time.monotonic() + 10
        while True:
            found = [line for line in self.lines() if line["request_id"] == request_id]
            if found:
                return found[0]
            self.assertLess(time.monotonic(), end)

    def test_a_line_for_each_request_without_content(self):
        secret = "The patient Zebedee has measles."
        for stream in (False, True):
            server.call("POST", "/v1/chat/completions",
                        {"model": NAME, "messages": [{"role": "user", "content": secret}], "max_tokens": 3, "stream": stream, "ignore_eos": True},
                        {**bearer("alice"), "x-request-id": f"log-{stream}"})
            line = self.await_line(f"log-{stream}")
            self.assertEqual((line["status"], line["route"], line["method"], line["model"]), (200, "/v1/chat/completions", "POST", NAME))
            self.assertEqual((line["client"], line["key_prefix"], line["completion_tokens"]), ("127.0.0.1", keys["alice"][:11], 3))
            self.assertEqual(line["tenant"], line["key_id"])
            self.assertGreater(line["prompt_tokens"], 5)
            self.assertGreater(line["duration_ms"], line["first_token_ms"])
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        server.call("GET", "/v1/models", headers={"x-request-id": "log-stranger", "Authorization": "Bearer " + keys["alice"][:-1]})
        stranger = self.await_line("log-stranger")
        self.assertEqual((stranger["status"], stranger["key_prefix"], stranger["client"]), (401, None, "127.0.0.1"))
        with open(path("requests.jsonl")) as file:
            text = file.read()
        for word in ("Zebedee", "measles", keys["alice"][12:]):
            self.assertNotIn(word, text)
            self.assertNotIn(word, server.stderr())
        self.assertEqual(stat.S_IMODE(os.stat(path("requests.jsonl")).st_mode), 0o600)

    def test_rotation(self):
        os.rename(path("requests.jsonl"), path("requests.1"))
        hang_up("keys and lists read again")
        server.call("GET", "/livez", headers={"x-request-id": "rotated"})
        self.await_line("rotated")
        self.assertNotIn("rotated", [line["request_id"] for line in self.lines("requests.1")])


class Restart(unittest.TestCase):
    def test_the_day_is_not_given_twice(self):
        used = path("second.usage")
        flags = ("--keys", path("keys.toml"), "--usage-file", used)
        with Serving(*flags) as one:
            def post(where):
                return where.call("POST", "/v1/completions", {"model": NAME, "prompt": "x", "max_tokens": 1}, bearer("daily"))

            self.assertEqual(post(one)[0], 200)
            self.assertEqual(post(one)[0], 200)
            code, headers, text = post(one)
            self.assertEqual((code, json.loads(text)["error"]["code"], headers["x-should-retry"]), (429, "insufficient_quota", "false"))
            end = time.monotonic() + 10
            while not (os.path.exists(used) and "requests = 2" in open(used).read()):
                self.assertLess(time.monotonic(), end)
            # Not even if it is killed.
            one.process.kill()
            one.process.wait()
            with Serving(*flags) as two:
                self.assertEqual(post(two)[0], 429)
                refused = run("serve", "--model", model(), "--port", "0", *flags)
                self.assertEqual(refused.returncode, 1)
                self.assertIn("--usage-file", refused.stderr)
            one.stop = lambda seconds=60: 0


class Starts(unittest.TestCase):
    def test_nobody_listens_beyond_this_machine_by_accident(self):
        done = run("serve", "--model", model(), "--port", "0", "--host", "0.0.0.0")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("--insecure-no-auth", done.stderr)

    def test_config_check(self):
        write("bad.toml", '[server]\nhots = "x"\nport = 99999\n[guard]\nallow = ["10.0.0.0/33"]\n[quota]\nconcurrent = "many"\n')
        done = run("config", "check", path("bad.toml"), "--json")
        self.assertEqual(done.returncode, 1)
        fields = [(re.sub(r".*:", "", p["file"]), p["field"]) for p in json.loads(done.stdout)["problems"]]
        self.assertEqual(fields, [("2", "server.hots"), ("3", "server.port"), ("5", "guard.allow"), ("7", "quota.concurrent")])
        self.assertIn("did you mean 'host'?", done.stderr)
        write("tls.toml", '[tls]\ncert = "/nowhere/cert.pem"\nkey = "/nowhere/key.pem"\n')
        self.assertIn("/nowhere/cert.pem", run("config", "check", path("tls.toml")).stderr)
        write("half.toml", '[tls]\ncert = "/nowhere/cert.pem"\n')
        self.assertIn("half.toml:1: tls.key", run("config", "check", path("half.toml")).stderr)
        self.assertEqual(run("serve", "--config", path("bad.toml")).returncode, 1)

    def test_config_show_is_a_config(self):
        shown = run("config", "show", path("inhouse.toml"))
        self.assertEqual(shown.returncode, 0, shown.stderr)
        write("shown.toml", shown.stdout)
        self.assertEqual(run("config", "show", path("shown.toml")).stdout, shown.stdout)
        self.assertEqual(run("config", "check", path("shown.toml")).stdout, f"{path('shown.toml')}: ok\n")

    def test_flags_go_before_the_file(self):
        write("port.toml", "[server]\nport = 1\n[guard]\nallow = ['10.0.0.0/8']\n")
        rules = run("firewall", "--config", path("port.toml"), "--port", "4711").stdout
        self.assertIn("tcp dport 4711", rules)
        self.assertIn("10.0.0.0/8", rules)


class Unit(unittest.TestCase):
    def test_systemd(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("no systemd-analyze here")
        with open(os.path.join(ROOT, "ci-cd/systemd/inhouse.service")) as file:
            write("inhouse.service", file.read().replace("/usr/bin/inhouse", BINARY), mode=0o644)
        checked = subprocess.run(["systemd-analyze", "verify", path("inhouse.service")], capture_output=True, text=True, check=False)
        self.assertEqual((checked.returncode, [line for line in checked.stderr.splitlines() if "inhouse" in line]), (0, []))
        # From 0 (locked in) to 10; a service without any of it stands at 9.6.
        judged = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", path("inhouse.service")],
                                capture_output=True, text=True, check=False)
        self.assertEqual(judged.returncode, 0, judged.stdout[-300:] + judged.stderr)


if __name__ == "__main__":
    unittest.main()
