"""/openapi.json: a valid document, and requests made from it that must never give a 5xx.

For 12 seconds, or FUZZ_SECONDS where that is set (`scripts/test --all`).
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

from serving import Serving

SECONDS = os.environ.get("FUZZ_SECONDS", "12")
server = None
stack = contextlib.ExitStack()


def setUpModule():
    global server
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    server = stack.enter_context(Serving("--batches-dir", directory, "--context", "512", names=("m",)))


def tearDownModule():
    stack.close()


class OpenApi(unittest.TestCase):
    def test_describes_itself(self):
        status, headers, text = server.call("GET", "/openapi.json")
        document = json.loads(text)
        self.assertEqual((status, document["openapi"]), (200, "3.1.0"))
        self.assertEqual(document["components"]["schemas"]["Model"]["enum"], ["m"])
        for path in document["paths"]:
            if "{" not in path:
                self.assertNotEqual(server.call("OPTIONS", path)[0], 404, path)

    def test_no_5xx(self):
        """schemathesis makes good and bad requests of the document's schemas."""
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        if not os.path.exists(program):
            self.skipTest("schemathesis is not installed")
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [program, "run", server.url + "/openapi.json", "--checks", "not_a_server_error", "--max-time", SECONDS,
                 "--seed", "1", "--phases", "fuzzing", "--mode", "all", "--generation-database", "none", "--no-color",
                 "--suppress-health-check", "all", "--request-timeout", "60"],
                capture_output=True, text=True, check=False, timeout=600, cwd=directory)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-2000:])
        self.assertEqual(server.call("GET", "/livez")[0], 200)


if __name__ == "__main__":
    unittest.main()
