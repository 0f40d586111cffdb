#!/usr/bin/env python3
"""Counts the cases of a ctest run: count_ctest.py FOLDER, with ctest.junit and GoogleTest's XML reports.

A binary that GoogleTest reported on counts as its cases, any other (it crashed, or is none of
GoogleTest's) as the one test that ctest saw.
"""

import os
import sys
import xml.etree.ElementTree as ET


def main():
    folder = sys.argv[1]
    passed = failed = skipped = 0
    try:
        cases = ET.parse(os.path.join(folder, "ctest.junit")).getroot().findall(".//testcase")
    except (OSError, ET.ParseError) as error:
        sys.exit(f"no ctest report: {error}")
    for case in cases:
        bad = case.get("status") == "fail"
        report = os.path.join(folder, case.get("name") + ".xml")
        try:
            root = ET.parse(report).getroot()
        except (OSError, ET.ParseError):
            root = None
        if root is None:
            passed, failed = passed + (not bad), failed + bad
            continue
        wrong = int(root.get("failures", 0)) + int(root.get("errors", 0))
        if bad and wrong == 0:  # all cases passed, and then the process did not end well
            wrong = 1
        left_out = sum(1 for c in root.iter("testcase") if c.get("result") == "skipped")
        failed, skipped = failed + wrong, skipped + left_out
        passed += max(int(root.get("tests", 0)) - wrong - left_out - int(root.get("disabled", 0)), 0)
    print(f"{len(cases)} binaries: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
