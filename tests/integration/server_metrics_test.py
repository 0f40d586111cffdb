"""/metrics: the text format, vLLM's names and buckets, and what promtool says about them."""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../conformance"))
from serving import Serving  # noqa: E402

GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "lora_requests_info")
COUNTERS = ("prompt_tokens_total", "generation_tokens_total", "num_preemptions_total", "request_success_total",
            "prefix_cache_queries_total", "prefix_cache_hits_total", "prompt_tokens_cached_total")
FIRST_TOKEN = ".001 .005 .01 .02 .04 .06 .08 .1 .25 .5 .75 1 2.5 5 7.5 10 20 40 80 160 640 2560"
TOKEN_GAP = ".01 .025 .05 .075 .1 .15 .2 .3 .4 .5 .75 1 2.5 5 7.5 10 20 40 80"
REQUEST = ".3 .5 .8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680"
HISTOGRAMS = {
    "time_to_first_token_seconds": FIRST_TOKEN, "inter_token_latency_seconds": TOKEN_GAP,
    "request_time_per_output_token_seconds": TOKEN_GAP, "e2e_request_latency_seconds": REQUEST,
    "request_queue_time_seconds": REQUEST, "request_inference_time_seconds": REQUEST,
    "request_prefill_time_seconds": REQUEST, "request_decode_time_seconds": REQUEST,
    "request_params_n": "1 2 5 10 20",
}


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Serving() as server:
            for stream in (False, True):
                server.call("POST", "/v1/chat/completions", {"model": Serving.NAME, "max_tokens": 8, "stream": stream,
                                                             "messages": [{"role": "user", "content": "Hi!"}]})
            server.call("GET", "/v1/models")
            server.await_idle()  # a client has its answer before the engine has put the request away
            status, headers, cls.text = server.call("GET", "/metrics")
            cls.used = server.metric("vllm:request_generation_tokens_sum")
            cls.counted = server.metric("vllm:generation_tokens_total")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")

    def test_core_set_of_vllm(self):
        for names, kind in ((GAUGES, "gauge"), (COUNTERS, "counter"), (HISTOGRAMS, "histogram")):
            for name in names:
                self.assertIn(f"# TYPE vllm:{name} {kind}\n", self.text)
        self.assertRegex(self.text, r'vllm:num_requests_running\{engine="0",model_name="test-model"\} 0\n')

    def test_buckets(self):
        for name, expected in HISTOGRAMS.items():
            found = re.findall(rf'^vllm:{name}_bucket\{{.*le="([^"]+)"\}}', self.text, re.MULTILINE)
            self.assertEqual([float(x) for x in found], [*map(float, expected.split()), float("inf")], name)

    def test_every_request_is_counted(self):
        self.assertIn('vllm:e2e_request_latency_seconds_count{engine="0",model_name="test-model"} 2\n', self.text)
        self.assertIn('vllm:time_to_first_token_seconds_count{engine="0",model_name="test-model"} 2\n', self.text)
        self.assertIn('http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"} 2\n', self.text)
        self.assertEqual(self.used, self.counted)

    def test_promtool(self):
        promtool = shutil.which("promtool")
        if promtool is None:
            print("SKIPPED: promtool is not there (Debian package prometheus)", file=sys.stderr)
            self.skipTest("no promtool")
        done = subprocess.run([promtool, "check", "metrics"], input=self.text, capture_output=True, text=True, check=False)
        # vLLM's names have a colon, which the linter keeps for recording rules; nothing else may be found.
        found = [line for line in (done.stdout + done.stderr).splitlines()
                 if line.strip() and "should not contain ':'" not in line]
        self.assertEqual(found, [])
        self.assertIn(done.returncode, (0, 3))


if __name__ == "__main__":
    unittest.main()
