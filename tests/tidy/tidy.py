#!/usr/bin/env python3
"""Style and structure as a test. Run it from anywhere: tests/tidy/tidy.py [PATH…]"""

import argparse
import os
import sys

import code_checks
import docs_checks
import house_checks
from source_tree import Tree

CHECKS = {
    "layers": house_checks.layers_check,
    "targets": house_checks.targets_check,
    "orphans": house_checks.orphans,
    "readmes": house_checks.readmes,
    "line-length": code_checks.line_length,
    "file-budget": code_checks.file_budget,
    "function-budget": code_checks.function_budget,
    "banned": code_checks.banned_calls,
    "headers": code_checks.headers,
    "format": code_checks.clang_format,
    "words": code_checks.words,
    "links": docs_checks.links,
    "languages": docs_checks.languages,
}


def run(root, only=None, paths=()):
    """Returns ({check: [findings]}, [warnings]), both limited to what stands below `paths`."""
    tree = Tree(root)

    def wanted(finding):
        return not paths or any(finding.path == p or finding.path.startswith(p + "/") for p in paths)

    results = {name: sorted(set(filter(wanted, check(tree)))) for name, check in CHECKS.items()
               if not only or name in only}
    warnings = [] if only else list(filter(wanted, code_checks.file_warnings(tree)))
    return results, warnings


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog="checks: " + ", ".join(CHECKS))
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser.add_argument("--root", default=home, help="the tree to read (default: this one)")
    parser.add_argument("--only", action="append", choices=list(CHECKS), help="run only this check")
    parser.add_argument("paths", nargs="*", help="report only what stands below these paths")
    args = parser.parse_args()
    paths = [os.path.relpath(os.path.abspath(p), os.path.abspath(args.root)) for p in args.paths]
    results, warnings = run(args.root, args.only, [p for p in paths if p != "."])
    for warning in warnings:
        print(f"warning: {warning}")
    for findings in results.values():
        for finding in findings:
            print(finding)
    failed = sum(1 for findings in results.values() if findings)
    print(f"tidy: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
