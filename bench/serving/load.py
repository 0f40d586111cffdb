#!/usr/bin/env python3
"""Load on the real server, from clients that are cheap enough to share its machine.

Each scenario starts its own server, prints a table (or --json) and exits with 1 when a bound is missed. The
binary is build/release/inhouse (or INHOUSE_BIN), the model smollm2-135m-instruct (or INHOUSE_TEST_MODEL).
"""

import argparse
import shlex
import sys

import chats
import costs
import day
import idle
import streams

SCENARIOS = {"streams": streams, "idle": idle, "day": day, "chats": chats, "costs": costs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="examples:\n" + "".join(m.EXAMPLES.split("\n", 1)[1] for m in SCENARIOS.values()))
    commands = parser.add_subparsers(dest="scenario", required=True, metavar="SCENARIO")
    for name, module in SCENARIOS.items():
        command = commands.add_parser(name, help=module.__doc__.split("\n")[0], description=module.__doc__,
                                      epilog=module.EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.add_argument("--server-flags", type=shlex.split, default=[], help="more flags for inhouse serve, in one string")
        command.add_argument("--json", action="store_true", help="a record for machines instead of the table")
        command.add_argument("--out", help="also write the record to this file")
    args = parser.parse_args()
    report = SCENARIOS[args.scenario].run(args)
    if args.out:
        report.write(args.out)
    return report.finish(args.json)


if __name__ == "__main__":
    sys.exit(main())
