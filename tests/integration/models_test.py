"""The local store through `inhouse models`."""

import os
import pathlib
import subprocess
import threading
import unittest

from pull_case import BLOB, FILES, MODEL, PullCase


class Models(PullCase):
    def test_life_of_a_model(self):
        out = self.pull("org/model")
        self.assertEqual(self.run_verb("models", "path", "org/model")[1]["path"], out["path"])
        self.assertEqual(self.run_verb("models", "path", "model")[1]["path"], out["path"])
        self.assertIn("org/model", self.run_verb("models", "path", "modle")[1]["error"]["message"])
        damaged = pathlib.Path(out["path"]) / MODEL
        os.chmod(damaged, 0o644)
        damaged.write_bytes(BLOB[:-1] + b"x")
        code, report = self.run_verb("models", "verify")
        self.assertEqual((code, report["ok"]), (1, False))
        self.assertEqual([p["path"] for p in report["results"][0]["problems"]], [MODEL])
        self.assertEqual(self.run_verb("models", "rm", "org/model")[0], 0)
        self.assertEqual(self.listed(), [])
        self.assertEqual(os.listdir(self.home / "store" / "models"), [])

    def test_unfinished_downloads_are_shown_and_pruned(self):
        self.hub.fault(MODEL, {"cut": 300000}, {"status": 404})
        self.refused("org/model")
        (partial,) = self.run_verb("models")[1]["partial"]
        self.assertEqual((partial["source"], partial["active"]), ("hf:org/model", False))
        self.assertEqual(self.run_verb("models", "prune")[1]["removed"], 1)
        self.assertEqual(self.run_verb("models")[1]["partial"], [])

    def test_readers_see_whole_versions_while_one_pulls(self):
        stop, seen = threading.Event(), []

        def look():
            while not stop.is_set():
                for model in self.run_verb("models")[1]["models"]:
                    seen.append((pathlib.Path(model["path"]) / MODEL).read_bytes() == BLOB)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            for commit in "cdef":
                config = b'{"model_type": "%s"}' % commit.encode()
                self.hub.add("org/model", {**FILES, "config.json": config}, {MODEL}, commit=commit * 40)
                subprocess.run(self.command("pull", "org/model"), env=self.environment(), capture_output=True)
        finally:
            stop.set()
            thread.join()
        self.assertTrue(all(seen))


if __name__ == "__main__":
    unittest.main()
