"""`python -m tests.bench`: runs the benchmarks and prints one table of the figures and their rivals.

Exits with 0 also when a bar is not reached; with `--strict` it then exits with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.bench.figures import LEAST_ROUNDS, Line
from tests.bench.plan import Plan, say

DIRECTORY = Path(__file__).parents[2] / ".bench"
QUICK_ROUNDS = 2

# In the order of the table. Imported only when run, because every client process imports this module too.
BENCHMARKS = {
    "append-8": ("appends", "eight_processes"),
    "append-1": ("appends", "one_process"),
    "writer": ("writers", "four_writers"),
    "checkpoints": ("checkpoints", "growing_contexts"),
    "read": ("reading", "long_transcript"),
    "list": ("listing", "beside_contexts"),
    "tasks": ("paging", "pages_of_tasks"),
    "states": ("task_states", "all_states"),
    "ready": ("readiness", "ready_tasks"),
    "transaction": ("transactions", "together_and_singly"),
    "rest": ("resting", "start_and_idle"),
}

_EXAMPLES = """\
examples:
  python -m tests.bench                           every row, five rounds each: about ten minutes
  python -m tests.bench --quick                   a two-minute smoke test; too short for valid figures
  python -m tests.bench --only append-8 writer    these rows only
  python -m tests.bench --dir /mnt/nvme/bench     on another disk
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = _parser().parse_args(arguments)
    rounds = given.rounds or (QUICK_ROUNDS if given.quick else LEAST_ROUNDS)
    if rounds < LEAST_ROUNDS:
        say(f"{rounds} rounds are too few for a comparison; use at least {LEAST_ROUNDS}.")
    from tests.bench import machine, table

    given.dir.mkdir(parents=True, exist_ok=True)
    about = machine.describe(given.dir)
    plan = Plan(rounds, given.quick, given.dir)
    lines = [line for name in given.only or BENCHMARKS for line in _run(name, plan)]
    print(table.markdown(lines, about, rounds))
    if given.json:
        given.json.write_text(json.dumps(table.document(lines, about, rounds), indent=2, ensure_ascii=False) + "\n")
    return int(given.strict and any(line.bar.held is False for line in lines))


def _run(name: str, plan: Plan) -> list[Line]:
    module, function = BENCHMARKS[name]
    lines: list[Line] = getattr(import_module(f"tests.bench.{module}"), function)(plan)
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures Holdfast and its rivals on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each row; {LEAST_ROUNDS} unless --quick")
    parser.add_argument("--quick", action="store_true", help="few and short rounds on less data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round to a file")
    parser.add_argument("--dir", type=Path, default=DIRECTORY, help="directory for the stores during the run (.bench)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is not reached")
    return parser


if __name__ == "__main__":
    sys.exit(main())
