"""How scripts/bench judges its rounds beside llama.cpp."""

import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench/peers"))
import targets  # noqa: E402


class RatiosToAPeer(unittest.TestCase):
    """Rounds in which the memory was not as fast for both all the time do not count, if there are better ones."""

    ROW = targets.Row("decode", "q8_0", "q8_0", (0.9, 0.9), (1.5, 1.3))

    def evaluate(self, *rounds):
        """rounds: (our tokens/s, memory read beside us, theirs, before and after them); we could reach 1.1 times ours"""
        ours = [{"round": i, "decode": a, "of_limit": {"decode": 0.9}, "limit": {"decode": 1.1 * a}, "bound": {"decode": "memory"},
                 "memory_read_gb_s": {"decode": m}} for i, (a, m, _, _) in enumerate(rounds)]
        theirs = [{"round": i, "decode": b, "memory_read_gb_s": {"decode": list(m)}} for i, (_, _, b, m) in enumerate(rounds)]
        return targets.evaluate(self.ROW, {"inhouse": {"q8_0": {"rounds": ours}}, "llama_cpp": {"q8_0": {"rounds": theirs}}}, True)

    def test_rounds_with_the_same_memory_count(self):
        figures = self.evaluate((40, 80, 20, (45, 45)), (40, 80, 25, (75, 78)), (22, 45, 25, (80, 79)))
        self.assertAlmostEqual(figures["ratio"], 40 / 25)
        self.assertEqual((figures["like_rounds"], figures["rounds"]), (1, 3))
        self.assertIn("1.60× (≥ 1.50×) (1 of 3 rounds)", targets.ratio_cell(figures))

    def test_all_count_if_there_is_none(self):
        figures = self.evaluate((40, 80, 20, (45, 46)), (22, 45, 25, (80, 80)), (40, 80, 20, (44, 45)))
        self.assertAlmostEqual(figures["ratio"], 2)
        self.assertIn("no round with the same memory", targets.ratio_cell(figures))

    def test_a_change_in_the_middle_of_a_phase_does_not_count(self):
        figures = self.evaluate((30, 63, 24, (80, 46)), (40, 80, 25, (80, 79)))
        self.assertEqual((figures["ratio"], figures["like_rounds"]), (40 / 25, 1))

    def test_a_miss_says_what_the_memory_allowed(self):
        figures = self.evaluate((24, 45, 20, (45, 45)), (24, 45, 20, (44, 46)))
        self.assertAlmostEqual(figures["most"], 1.1 * 24 / 20)
        self.assertIn("**missed**); the memory allowed 1.32×", targets.ratio_cell(figures))


if __name__ == "__main__":
    unittest.main()
