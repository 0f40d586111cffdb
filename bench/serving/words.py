"""Prompts of a wanted length with a fixed seed, so that a run can be repeated."""

import random

_WORDS = ("the a of to and in is for on with as by at from report patient machine order invoice valve sensor station meeting "
          "contract delivery temperature pressure schedule customer request answer update system user question please write "
          "explain summarise list compare why how when which should could would not have been after before under between "
          "safety quality result number week month year plan risk cost team table page line field note").split()

SYSTEM = ("You are the assistant of a manufacturing company. Answer briefly and to the point, in the language of the question. "
          "If you do not know the answer, say so; do not guess numbers. Never give legal or medical advice. Refer to machines "
          "by their station name and to orders by their number. When the user asks for steps, answer with a numbered list. "
          "When the user asks for a table, answer with a Markdown table. Dates are written as year, month, day. Quantities "
          "carry their unit. Confidential documents are summarised, never quoted. ")


class Words:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def text(self, words):
        return " ".join(self.rng.choice(_WORDS) for _ in range(words)) + "?"

    def length(self, median, largest, sigma=0.8):
        """A long-tailed length, as people write: log-normal, cut."""
        return int(max(1, min(largest, self.rng.lognormvariate(0, sigma) * median)))
