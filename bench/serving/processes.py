"""The servers that are measured, and what is measured of them from outside: memory, processor time, /health."""

import asyncio
import http.client
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("INHOUSE_BIN", os.path.join(ROOT, "build/release/inhouse"))
sys.path.insert(0, os.path.join(ROOT, "tests/conformance"))
from serving import Serving, model, run  # noqa: E402


def describe():
    """Build and model of the server under test."""
    return f"{run('version').stdout.splitlines()[0]}, {os.path.basename(model())}"


def allow_files(count):
    """Raises this process's own limit of open files; exits when that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"{count} open files are needed, ulimit -Hn allows {hard}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def rss_mib(pid):
    """(resident, of it memory of its own) in MiB; the rest are pages of files, which the kernel takes back at will."""
    sizes = {}
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith(("VmRSS", "RssAnon")):
                sizes[line.split(":")[0]] = int(line.split()[1]) / 1024
    return sizes["VmRSS"], sizes["RssAnon"]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sampler:
    """Memory and open files of a process, once a second, on the event loop."""

    def __init__(self, pid):
        self.pid, self.samples, self.files, self.lag = pid, [], 0, 0.0

    async def run(self):
        start = time.monotonic()
        while True:
            resident, own = rss_mib(self.pid)
            self.samples.append((time.monotonic() - start, resident, own))
            self.files = max(self.files, len(os.listdir(f"/proc/{self.pid}/fd")))
            before = time.monotonic()
            await asyncio.sleep(1)
            self.lag = max(self.lag, time.monotonic() - before - 1)  # how late this client itself is

    def after(self, share, column=2):
        """(seconds, MiB) without the first part of the time, in which pages are touched for the first time."""
        end = self.samples[-1][0]
        return [(sample[0], sample[column]) for sample in self.samples if sample[0] >= share * end]


def _probe(port, path, every, stop, out):
    times, failures = [], []
    while not stop.is_set():
        start = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            status = connection.getresponse().status
            connection.close()
            if status != 200:
                failures.append(f"status {status}")
        except OSError as error:
            failures.append(repr(error))
        times.append(time.monotonic() - start)
        stop.wait(max(0.0, every - times[-1]))
    out.put((times, failures))


class Prober:
    """Asks for a path from a process of its own, on a new connection each time, so that a busy client is not
    mistaken for a busy server."""

    def __init__(self, port, path="/health", every=0.05):
        context = multiprocessing.get_context("fork")
        self.stop, self.out = context.Event(), context.Queue()
        self.process = context.Process(target=_probe, args=(port, path, every, self.stop, self.out), daemon=True)
        self.process.start()

    def result(self):
        """(seconds of each answer, what went wrong)."""
        self.stop.set()
        found = self.out.get(timeout=30)
        self.process.join()
        return found


class LlamaServer:
    """llama.cpp's own server, on the processor alone."""

    def __init__(self, binary, model, threads, slots, context):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile("w+")
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(os.path.abspath(binary)))
        self.process = subprocess.Popen(
            [binary, "-m", model, "--host", "127.0.0.1", "--port", str(self.port), "-t", str(threads), "-tb", str(threads),
             "-np", str(slots), "-c", str(slots * context), "--device", "none", "--no-webui", "--jinja"],
            stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        end = time.monotonic() + 300
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"llama-server does not start: {self.tail()}")
            time.sleep(0.2)

    def tail(self):
        self.log.seek(0)
        return self.log.read()[-1500:]

    def ready(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
