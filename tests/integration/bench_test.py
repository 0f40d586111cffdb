"""The JSON of `inhouse bench` on a tiny model: what scripts and judges rely on."""

import json
import os
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("INHOUSE_BIN", os.path.join(ROOT, "build/dev/inhouse"))
MODEL = os.path.join(ROOT, "tests/fixtures/models/llama-bf16")


def bench(*flags):
    done = subprocess.run([BIN, "bench", "--model", MODEL, "--threads", "2", "--repeat", "2", "--json", *flags],
                          capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, json.loads(done.stdout)


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.code, cls.out = bench("--prompt-tokens", "24", "--generate-tokens", "6", "--batch", "1,3", "--depth", "0,40",
                                  "--kernels")

    def test_it_names_the_machine_and_its_limits(self):
        self.assertEqual(self.code, 0)
        self.assertEqual(self.out["machine"]["threads"], 2)
        self.assertTrue(self.out["machine"]["cpu"] and self.out["machine"]["isa"])
        limits = self.out["limits"]
        for value in (limits["memory_read_gb_s"], *(limits["dot_gop_s"][unit] for unit in ("f32", "bf16", "int8"))):
            self.assertGreater(value, 0)
        self.assertGreater(self.out["peak_rss_bytes"], self.out["model"]["weight_bytes"])
        self.assertGreater(self.out["load"]["seconds"], 0)

    def test_a_row_for_each_phase_in_order(self):
        rows = [(r["phase"], r["tokens"], r["batch"], r["depth"]) for r in self.out["results"]]
        self.assertEqual(rows, [("prefill", 24, 1, 0), ("decode", 6, 1, 0), ("decode", 6, 3, 0), ("decode", 6, 1, 40),
                                ("decode", 6, 3, 40)])

    def test_figures_agree_with_each_other(self):
        for row in self.out["results"]:
            rate = row["tokens_per_second"]
            self.assertLessEqual(0, rate["min"])
            self.assertLessEqual(rate["min"], rate["median"])
            self.assertLessEqual(rate["median"], rate["max"])
            self.assertIn(row["bound"], ("memory", "arithmetic"))
            # This model fits into a cache, so a share may pass 1; it is a share of the limit that is named.
            self.assertAlmostEqual(row["of_limit"], rate["median"] / row["limit_tokens_per_second"],
                                   delta=0.9 * row["of_limit"])
        decode = self.out["results"][1]
        steps = decode["tokens_per_second"]["median"]
        model = self.out["model"]
        step_bytes = model["weight_bytes"] + 3 * model["kv_bytes_per_token"]
        self.assertAlmostEqual(decode["gb_s"] * 1e9 / steps / step_bytes, 1, places=2)

    def test_kernels_make_up_the_step(self):
        for row in self.out["results"]:
            names = [k["kernel"] for k in row["kernels"]]
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual({"qkv", "attention", "o", "gate_up", "down", "head", "norm"}, set(names))
            self.assertAlmostEqual(sum(k["share"] for k in row["kernels"]), 1, places=6)
            times = [k["us_per_step"] for k in row["kernels"]]
            self.assertEqual(times, sorted(times, reverse=True))
            for kernel in row["kernels"]:
                if kernel["kernel"] in ("qkv", "down", "head"):
                    self.assertGreater(kernel["gop_s"], 0)
                    self.assertGreater(kernel["of_limit"], 0)

    def test_what_does_not_fit_is_left_out_and_said(self):
        code, out = bench("--prompt-tokens", "0", "--generate-tokens", "4", "--depth", "0,1000000")
        self.assertEqual(code, 0)
        self.assertEqual([r["depth"] for r in out["results"]], [0])
        self.assertNotIn("kernels", out["results"][0])
        (skipped,) = out["skipped"]
        self.assertEqual(skipped["depth"], 1000000)
        self.assertIn("context", skipped["why"])

    def test_wrong_usage(self):
        done = subprocess.run([BIN, "bench", "--model", MODEL, "--batch", "0"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        code, out = bench("--isa", "none-such")
        self.assertEqual((code, out["error"]["field"]), (1, "isa"))


if __name__ == "__main__":
    unittest.main()
