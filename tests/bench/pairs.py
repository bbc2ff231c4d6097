"""`python -m tests.bench.pairs OLD`: compares this tree's benchmarks with those of another checkout.

Each pair runs a benchmark once in each tree; every second pair starts with this tree. The machine's speed drifts, so figures
are compared within a pair, and the table gives the median of the ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from tests.bench.__main__ import BENCHMARKS
from tests.bench.plan import say

HERE = Path(__file__).parents[2]
LEAST_PAIRS = 7

Figures = Mapping[tuple[str, str, str], float]  # (work, series, unit) → value

_EXAMPLES = """\
examples:
  git worktree add ../landed COMMIT && make -C ../landed setup
  python -m tests.bench.pairs ../landed                        every row, seven pairs: half an hour
  python -m tests.bench.pairs ../landed --only append-1 read   these rows only
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = _parser().parse_args(arguments)
    print("| work | figure | unit | old | this | this / old, median (least–most) |\n|---|---|---|---|---|---|")
    for name in given.only or BENCHMARKS:
        pairs = [_pair(name, given.old, number, given.quick) for number in range(given.pairs)]
        for row in _rows(pairs):
            print(row, flush=True)
    return 0


def _pair(name: str, old: Path, number: int, quick: bool) -> tuple[Figures, Figures]:
    """One run in each tree."""
    say(f"{name}: pair {number + 1}")
    found = {tree: _run(name, tree, quick) for tree in ((old, HERE) if number % 2 == 0 else (HERE, old))}
    return found[old], found[HERE]


def _run(name: str, tree: Path, quick: bool) -> Figures:
    """One round of one benchmark of the tree, in the tree's own environment."""
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "figures.json"
        command = [tree.resolve() / ".venv/bin/python", "-m", "tests.bench", "--only", name, "--rounds", "1", "--json", told]
        command += ["--quick"] if quick else []
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{tree}: {name} failed:\n{done.stderr[-2000:]}")
        lines = json.loads(told.read_text())["lines"]
    return {
        (line["work"], each["name"], each["unit"]): each["median"]
        for line in lines
        for each in (*line["figures"], *line["rivals"])
        if "median" in each
    }


def _rows(pairs: Sequence[tuple[Figures, Figures]]) -> list[str]:
    """One table row for each figure that both trees have."""
    first_old, first_new = pairs[0]
    rows = []
    for key in (each for each in first_new if each in first_old):
        old, new = ([side[key] for side in sides] for sides in zip(*pairs, strict=True))
        ratios = [one / other for one, other in zip(new, old, strict=True) if other]
        told = f"{median(ratios):.3f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"
        rows.append(f"| {' | '.join(key)} | {median(old):,.4g} | {median(new):,.4g} | {told} |")
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.pairs",
        description="Compares two checkouts of Holdfast on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path, help="the other checkout, with its .venv installed")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="shorter rounds on less data")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, metavar="N", help=f"pairs of each row ({LEAST_PAIRS})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
