"""Starts the real server for tests: `with Serving() as server`, then server.url, server.client().

INHOUSE_BIN names the binary (default: build/dev/inhouse), INHOUSE_TEST_MODEL the model (default:
smollm2-135m-instruct of the local store, which is pulled when it is not there).
"""

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("INHOUSE_BIN", os.path.join(ROOT, "build/dev/inhouse"))
DEMO = "smollm2-135m-instruct"
# Keys of whoever runs the tests are not ours.
os.environ.setdefault("INHOUSE_CONFIG_HOME", "/nonexistent")


def run(*arguments, **options):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False, timeout=600,
                          stdin=subprocess.DEVNULL, **options)


def model():
    """The model under test; skips the file, loudly, where there is none."""
    if "INHOUSE_TEST_MODEL" in os.environ:
        return os.environ["INHOUSE_TEST_MODEL"]
    if run("inspect", "--model", DEMO, "--json").returncode != 0:
        pulled = run("pull", DEMO)
        if pulled.returncode != 0:
            print(f"SKIPPED: no model to serve: inhouse pull {DEMO}: {pulled.stderr.strip()[-300:]}", file=sys.stderr)
            raise unittest.SkipTest(f"no model: {DEMO} cannot be pulled here; set INHOUSE_TEST_MODEL")
    return DEMO


class Serving:
    """One server process. `wait=False` returns while the model is being loaded (then `port` is needed).
    `model_flag=False` leaves the model to a configuration file."""

    NAME = "test-model"

    def __init__(self, *flags, wait=True, port=0, names=(NAME,), model_flag=True, **popen):
        command = [BINARY, "serve", "--port", str(port)]
        if model_flag:
            command += ["--model", model()]
        for name in names:
            command += ["--served-name", name]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=self.log, text=True, **popen)
        self.port = port
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds=120):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        match = re.fullmatch(r"listening on https?://127\.0\.0\.1:(\d+)\n", line)
        if match is None:
            self.process.kill()
            raise AssertionError(f"not ready: {line!r}\n{self.stderr()}")
        self.port = int(match.group(1))

    def stderr(self):
        # The process writes where this file stands: moving there to read would make it write over what it wrote.
        return os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0).decode(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options):
        import openai

        return openai.OpenAI(base_url=self.url + "/v1", api_key="none", **{"max_retries": 0, **options})

    def call(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers, body text) of one plain request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if body is not None and not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def post(self, path, body, **options):
        """(status, object) of a JSON request."""
        status, _, text = self.call("POST", path, body, **options)
        return status, json.loads(text)

    def raw(self, data=b"", timeout=20):
        """A connected socket to which `data` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        connection.sendall(data)
        return connection

    def metric(self, names, **labels):
        """The sum of the samples of that name, or those names, whose labels contain these."""
        names = (names,) if isinstance(names, str) else names
        total = 0.0
        for line in self.call("GET", "/metrics")[2].splitlines():
            match = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line)
            if match and match.group(1) in names and all(f'{k}="{v}"' in (match.group(2) or "") for k, v in labels.items()):
                total += float(match.group(3))
        return total

    def await_metric(self, name, accept, seconds=30, **labels):
        end = time.monotonic() + seconds
        while not accept(self.metric(name, **labels)):
            if time.monotonic() > end:
                raise AssertionError(f"{name}{labels} stays {self.metric(name, **labels)}")

    def await_idle(self, seconds=30):
        """Until nothing runs and nothing waits, seen in one scrape: between two, a waiting request may have started."""
        end = time.monotonic() + seconds
        while self.metric(("vllm:num_requests_running", "vllm:num_requests_waiting")) != 0:
            if time.monotonic() > end:
                raise AssertionError(f"requests still run or wait after {seconds} s")

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        code = self.stop()
        text = self.stderr()
        self.log.close()
        if code != 0:
            raise AssertionError(f"the server ended with {code}:\n{text[-2000:]}")
