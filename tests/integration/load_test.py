"""bench/serving/load.py in seconds: every scenario runs, counts what it says, and fails when a bound is missed."""

import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../conformance"))
from serving import BINARY, model  # noqa: E402

LOAD = os.path.join(HERE, "../../bench/serving/load.py")


def load(*arguments):
    """(exit code, record)."""
    done = subprocess.run([sys.executable, LOAD, *arguments, "--json"], capture_output=True, text=True, check=False, timeout=300,
                          env=dict(os.environ, INHOUSE_BIN=os.path.abspath(BINARY)))
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError as error:
        raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}") from error


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model()  # skips where there is none

    def test_streams(self):
        code, record = load("streams", "--clients", "24", "--seconds", "2", "--tokens", "8", "--queue", "4", "--max-sequences", "4",
                            "--growth", "100", "--health-ms", "2000")
        figures = record["figures"]
        self.assertEqual(code, 0, record["bounds"])
        self.assertGreater(figures["answers"], 3)
        # A token that ends the answer for others, and does not here, has no text.
        self.assertIn(figures["inter_token_ms"]["n"], range(figures["answers"], 7 * figures["answers"] + 1))
        self.assertGreater(figures["turned_away"]["429"], 0)  # more clients than places
        self.assertEqual(figures["failures"], {})

    def test_idle_and_a_missed_bound(self):
        code, record = load("idle", "--streams", "40", "--seconds", "2", "--keep-alive-seconds", "0.5", "--health-ms", "2000", "--mib",
                            "-1000")
        self.assertEqual(record["figures"]["waiting"], 40)
        self.assertEqual([bound["name"] for bound in record["bounds"] if not bound["held"]], ["memory of all of them"])
        self.assertEqual(code, 1)

    def test_day(self):
        code, record = load("day", "--seconds", "3", "--calls", "200000", "--words", "5", "--tokens", "4")
        self.assertEqual(code, 0, record["figures"]["errors"])
        self.assertEqual(record["figures"]["first_token_ms"]["n"], record["figures"]["calls"])

    def test_chats(self):
        code, record = load("chats", "--chats", "2", "--turns", "2", "--rounds", "1", "--tokens", "8", "--no-peer")
        self.assertEqual(code, 0, record["bounds"])
        self.assertEqual(record["figures"]["inhouse"][0]["made"], 32)

    def test_costs(self):
        code, record = load("costs", "--rounds", "1", "--requests", "50", "--tokens", "4", "--streams", "2", "--keys", "3", "--adapters",
                            "1", "--adapter-loss", "10", "--guard-us", "100000")
        self.assertEqual(code, 0, record["bounds"])
        self.assertEqual(len(record["figures"]["request_keys"]["latency_us"]), 1)


if __name__ == "__main__":
    unittest.main()
