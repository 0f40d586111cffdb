"""The official Node client, where there are node and npm: openai_node.mjs has the checks."""

import os
import shutil
import subprocess
import tempfile
import unittest

from serving import ROOT, Serving

INSTALLED = os.path.join(ROOT, "build/node")


def install():
    """The client's package, fetched once; a reason if that is not possible here."""
    if not (shutil.which("node") and shutil.which("npm")):
        return "there is no node or no npm"
    if os.path.exists(os.path.join(INSTALLED, "node_modules/openai")):
        return None
    os.makedirs(INSTALLED, exist_ok=True)
    try:
        done = subprocess.run(["npm", "install", "--prefix", INSTALLED, "--no-audit", "--no-fund", "--silent", "openai"],
                              capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return "npm install takes more than a minute"
    return None if done.returncode == 0 else f"npm install openai: {done.stderr.strip()[-200:]}"


class Node(unittest.TestCase):
    def test_official_client(self):
        reason = install()
        if reason:
            self.skipTest(reason)
        # Node looks for packages beside the script.
        script = shutil.copy(os.path.join(ROOT, "tests/conformance/openai_node.mjs"), INSTALLED)
        with tempfile.TemporaryDirectory() as directory, Serving("--batches-dir", directory) as server:
            done = subprocess.run(["node", script, server.url + "/v1", Serving.NAME],
                                  capture_output=True, text=True, check=False, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"), done.stderr[-3000:])


if __name__ == "__main__":
    unittest.main()
