"""Traces reach a collector as OTLP/HTTP JSON, hold no content, and cost no request when the collector is gone."""

import base64
import contextlib
import json
import os
import sys
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving, run  # noqa: E402

NAME = Serving.NAME
SECRET = "Violet hippopotamus"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def parse(body):
    """The request in protobuf. OTLP's JSON has ids in hexadecimal where protobuf's own mapping has base64."""
    document = json.loads(body)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    if key in span:
                        raw = bytes.fromhex(span[key])
                        assert span[key] == raw.hex(), span[key]
                        span[key] = base64.b64encode(raw).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


class Collector:
    """A collector on loopback. `statuses` are answered in turn, the last one for ever."""

    def __init__(self, statuses=(200,)):
        self.statuses, self.bodies, self.seen = list(statuses), [], []
        self.arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector.arrived:
                    status = collector.statuses.pop(0) if len(collector.statuses) > 1 else collector.statuses[0]
                    collector.seen.append((self.path, dict(self.headers.items()), status))
                    if status == 200:
                        collector.bodies.append(body)
                    collector.arrived.notify_all()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b"{}")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [s for body in self.bodies for r in parse(body).resource_spans for scope in r.scope_spans for s in scope.spans]

    def await_spans(self, accept, seconds=30):
        """The spans, once there are those."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: accept(self.spans()), seconds):
                raise AssertionError([s.name for s in self.spans()])
            return self.spans()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def environment(**variables):
    before = dict(os.environ)
    os.environ.update({"OTEL_BSP_SCHEDULE_DELAY": "50", **variables})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def value(attribute):
    kind = attribute.value.WhichOneof("value")
    found = getattr(attribute.value, kind)
    return [v.string_value for v in found.values] if kind == "array_value" else found


def attributes(span):
    return {a.key: value(a) for a in span.attributes}


def roots(spans):
    return [s for s in spans if s.kind == Span.SPAN_KIND_SERVER]


class Traces(unittest.TestCase):
    def test_a_request_as_spans(self):
        variables = {"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue%20one", "OTEL_SERVICE_NAME": "ward-7",
                     "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
        with Collector() as collector, environment(**variables), Serving("--otlp-endpoint", collector.url) as server:
            body = {"model": NAME, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 12, "temperature": 0,
                    "stop": [SECRET + " stop"], "user": SECRET, "stream": True}
            sent = time.time_ns()
            status, headers, text = server.call("POST", "/v1/chat/completions", body,
                                                {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"})
            self.assertEqual(status, 200, text)
            answer = "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in
                             (line.removeprefix("data: ") for line in text.split("\n\n")) if e.startswith("{"))
            spans = collector.await_spans(roots)
            (root,) = roots(spans)
            self.assertEqual(root.trace_id.hex(), TRACE)
            self.assertEqual(root.parent_span_id.hex(), PARENT)
            self.assertEqual(root.trace_state, "a=b")
            self.assertEqual(root.name, f"chat {NAME}")
            self.assertEqual(root.status.code, Status.STATUS_CODE_UNSET)
            facts = attributes(root)
            self.assertEqual(facts["gen_ai.operation.name"], "chat")
            self.assertEqual(facts["gen_ai.request.model"], NAME)
            self.assertEqual(facts["gen_ai.request.max_tokens"], 12)
            self.assertEqual(facts["gen_ai.request.temperature"], 0)
            self.assertIn(facts["gen_ai.response.finish_reasons"], (["stop"], ["length"]))
            self.assertGreater(facts["gen_ai.usage.input_tokens"], 5)
            self.assertEqual(facts["gen_ai.usage.prompt_tokens"], facts["gen_ai.usage.input_tokens"])
            self.assertGreater(facts["gen_ai.usage.output_tokens"], 1)
            self.assertEqual(facts["http.route"], "/v1/chat/completions")
            self.assertEqual(facts["http.response.status_code"], 200)
            self.assertEqual(facts["gen_ai.request.id"], headers["x-request-id"])
            self.assertLessEqual(facts["gen_ai.latency.time_to_first_token"], facts["gen_ai.latency.e2e"])
            # The phases follow one another inside of the request.
            phases = {s.name: s for s in spans if s.parent_span_id == root.span_id}
            self.assertEqual(set(phases), {"prepare", "queue", "prefill", "decode"})
            self.assertEqual(len({s.span_id for s in spans}), 5)
            at = root.start_time_unix_nano
            self.assertGreaterEqual(at, sent)
            for name in ("prepare", "queue", "prefill", "decode"):
                self.assertEqual(phases[name].trace_id, root.trace_id)
                self.assertGreaterEqual(phases[name].start_time_unix_nano, at, name)
                self.assertGreater(phases[name].end_time_unix_nano, phases[name].start_time_unix_nano)
                at = phases[name].end_time_unix_nano - 1000  # what is written as two sums may differ by a rounding
            self.assertLessEqual(at, root.end_time_unix_nano)
            # To whom it is sent, and by whom.
            path, headers, _ = collector.seen[0]
            self.assertEqual(path, "/v1/traces")
            self.assertEqual(headers["Content-Type"], "application/json")
            self.assertEqual(headers["x-tenant"], "blue one")
            resource = {a.key: value(a) for a in parse(collector.bodies[0]).resource_spans[0].resource.attributes}
            self.assertEqual(resource["service.name"], "ward-7")
            self.assertEqual(resource["deployment.environment.name"], "test")
            # Never what was said: neither by the client nor by the model, nor the name of a model that is not served.
            server.post("/v1/completions", {"model": SECRET, "prompt": SECRET})
            server.post("/v1/embeddings", {"model": NAME, "input": [SECRET] * 20})
            spans = collector.await_spans(lambda s: len(roots(s)) == 3)
            self.assertEqual([s.name for s in roots(spans)], [f"chat {NAME}", "text_completion", f"embeddings {NAME}"])
            refused = attributes(roots(spans)[1])
            self.assertEqual(refused["http.response.status_code"], 404)
            self.assertNotIn("gen_ai.request.model", refused)
            everything = b"".join(collector.bodies).decode()
            self.assertNotIn("hippopotamus", everything.lower())
            self.assertGreater(len(answer), 8)
            self.assertNotIn(answer[:12], everything)
            # Probes leave none.
            for probe in ("/livez", "/metrics", "/v1/models"):
                server.call("GET", probe)
            server.post("/v1/completions", {"model": NAME, "prompt": "x", "max_tokens": 1})
            self.assertEqual(len(roots(collector.await_spans(lambda s: len(roots(s)) >= 4))), 4)
            self.assertGreaterEqual(server.metric("inhouse_trace_spans_total", outcome="exported"), 10)

    def test_who_decides(self):
        with Collector() as collector, environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                                                   OTEL_TRACES_SAMPLER="parentbased_always_off"), Serving() as server:
            ask = {"model": NAME, "prompt": "x", "max_tokens": 1}
            server.post("/v1/completions", ask)
            server.post("/v1/completions", ask, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
            server.post("/v1/completions", ask, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
            (root,) = roots(collector.await_spans(roots))
            self.assertEqual(root.trace_id.hex(), TRACE)

    def test_a_collector_that_is_gone_or_refuses(self):
        ask = {"model": NAME, "prompt": "x", "max_tokens": 1}
        with Collector((503, 200)) as collector, environment(), Serving("--otlp-endpoint", collector.url) as server:
            server.post("/v1/completions", ask)
            collector.await_spans(roots)  # sent again
            self.assertEqual([status for _, _, status in collector.seen], [503, 200])
        gone = collector.url
        with environment(OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_EXPORTER_OTLP_TIMEOUT="500"), Serving("--otlp-endpoint", gone) as server:
            for _ in range(12):
                self.assertEqual(server.post("/v1/completions", ask)[0], 200)
            server.await_metric("inhouse_trace_spans_total", lambda n: n > 0, outcome="dropped")
            server.await_metric("inhouse_trace_spans_total", lambda n: n > 0, outcome="failed")
            started = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - started, 5)

    def test_nothing_is_sent_unless_told(self):
        with Serving() as server:
            server.post("/v1/completions", {"model": NAME, "prompt": "x", "max_tokens": 1})
            self.assertEqual(server.metric("inhouse_trace_spans_total"), 0)
            self.assertNotIn("traces go to", server.stderr())
            # No socket but the listener's and its clients'.
            links = (os.path.join(f"/proc/{server.process.pid}/fd", fd) for fd in os.listdir(f"/proc/{server.process.pid}/fd"))
            sockets = {os.readlink(link)[8:-1] for link in links if os.path.islink(link) and os.readlink(link).startswith("socket:")}
            with open(f"/proc/{server.process.pid}/net/tcp") as table:
                for row in list(table)[1:]:
                    local, _, _, inode = (row.split()[i] for i in (1, 2, 3, 9))
                    if inode in sockets:
                        self.assertEqual(int(local.split(":")[1], 16), server.port)

    def test_wrong_settings(self):
        for variables, flags, named in (({"OTEL_TRACES_SAMPLER": "some"}, ("--otlp-endpoint", "http://127.0.0.1:1"), "OTEL_TRACES_SAMPLER"),
                                        ({}, ("--otlp-endpoint", "collector:4318"), "--otlp-endpoint")):
            with environment(**variables):
                from serving import model

                done = run("serve", "--model", model(), "--port", "0", *flags)
                self.assertEqual(done.returncode, 1)
                self.assertIn(named, done.stderr)


if __name__ == "__main__":
    unittest.main()
