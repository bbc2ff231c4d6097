"""`python -m tests.bench.turns OLD`: compares single operations of this tree with those of another checkout, a few at a time.

Two daemons, one of each tree, run at the same time, each with a worker process that uses its tree's client. The workers take
turns of about 50 ms, so both trees meet the same state of the machine; `pairs` compares whole runs, which are minutes apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parents[2]
TURN_S = 0.05
TURNS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = _parser().parse_args(arguments)
    if given.worker:
        _work(given.worker)
        return 0
    print("| operation | old, µs p50 | this, µs p50 | this / old | daemon's CPU, this / old |\n|---|---|---|---|---|")
    with ExitStack() as exits:
        place = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="turns-")))
        old, new = (exits.enter_context(_Worker(tree, place / name)) for tree, name in ((given.old, "old"), (HERE, "new")))
        for name in given.only or OPERATIONS:
            print(_row(name, [_turn(name, old, new, number) for number in range(given.turns)]), flush=True)
    return 0


class _Worker:
    """A daemon and a worker process, both of one tree."""

    def __init__(self, tree: Path, place: Path) -> None:
        self._python = tree.resolve() / ".venv/bin/python"
        self._place = place

    def __enter__(self) -> _Worker:
        socket = self._place.with_suffix(".sock")
        command = [self._python, "-m", "holdfastd", "--data-dir", self._place, "--socket", socket]
        self._daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._worker = subprocess.Popen(
            [self._python, __file__, "--worker", socket, "."], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.communicate()
        self._daemon.terminate()
        self._daemon.wait()

    def turn(self, name: str) -> tuple[float, float]:
        """One turn of an operation. Returns its median in µs, and the CPU time that the daemon used for each, in µs."""
        assert self._worker.stdin and self._worker.stdout
        before = self._cpu_s()
        print(name, file=self._worker.stdin, flush=True)
        times = json.loads(self._worker.stdout.readline())
        return median(times) * 1e6, (self._cpu_s() - before) / len(times) * 1e6

    def _cpu_s(self) -> float:
        nanoseconds = Path(f"/proc/{self._daemon.pid}/task").glob("*/schedstat")
        return sum(int(each.read_text().split()[0]) for each in nanoseconds) / 1e9


def _turn(name: str, old: _Worker, new: _Worker, number: int) -> tuple[tuple[float, float], tuple[float, float]]:
    if number % 2:
        latest = new.turn(name)
        return old.turn(name), latest
    return old.turn(name), new.turn(name)


def _row(name: str, turns: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> str:
    olds, news = zip(*turns, strict=True)
    times, cpu = (sorted(new[each] / old[each] for old, new in turns if old[each]) for each in (0, 1))
    middle = [f"{median(each):.3f} ({each[len(each) // 4]:.2f}–{each[-len(each) // 4]:.2f})" for each in (times, cpu)]
    return f"| {name} | {median(t for t, _ in olds):,.0f} | {median(t for t, _ in news):,.0f} | {middle[0]} | {middle[1]} |"


def _transaction(store: Any) -> Callable[[int], object]:
    ids = [store.tasks.create(title="x").id for _ in range(20)]

    def run(number: int) -> None:
        with store.transaction() as transaction:
            for each in ids:
                transaction.tasks.update(each, title=f"t{number}")

    return run


def _append(store: Any) -> Callable[[int], object]:
    session = store.sessions.create(title="x").id
    return lambda number: store.transcripts.append(session, role="user", content=f"line {number}")


def _list_tasks(store: Any) -> Callable[[int], object]:
    for number in range(200):
        store.tasks.create(title=f"t{number}")
    return lambda _: list(store.tasks.list(page_size=50, limit=50))


def _list_checkpoints(store: Any) -> Callable[[int], object]:
    session = store.sessions.create(title="x").id
    for number in range(60):
        store.checkpoints.save(session, context={"messages": [str(number)] * 100})
    return lambda _: list(store.checkpoints.list(session, limit=50))


def _save(store: Any) -> Callable[[int], object]:
    session = store.sessions.create(title="x").id
    return lambda number: store.checkpoints.save(
        session, context={"messages": [str(each) for each in range(100)] + [str(number)]}
    )


def _get(store: Any) -> Callable[[int], object]:
    session = store.sessions.create(title="x").id
    return lambda _: store.sessions.get(session)


OPERATIONS: Mapping[str, Callable[[Any], Callable[[int], object]]] = {
    "get": _get,
    "append": _append,
    "20 updates in a transaction": _transaction,
    "list 50 tasks": _list_tasks,
    "list 50 checkpoints": _list_checkpoints,
    "delta save": _save,
}


def _work(socket: str) -> None:
    """Runs the operations that arrive on the standard input, each for one turn. Prints the seconds that each took."""
    import holdfast

    with holdfast.connect(socket, connect_timeout_s=20) as store:
        ready: dict[str, Callable[[int], object]] = {}
        for line in sys.stdin:
            name = line.strip()
            operation = ready.get(name) or ready.setdefault(name, OPERATIONS[name](store))
            print(json.dumps(_times(operation)), flush=True)


def _times(operation: Callable[[int], object]) -> list[float]:
    times, end = [], time.perf_counter() + TURN_S
    while (began := time.perf_counter()) < end:
        operation(int(began * 1e6))
        times.append(time.perf_counter() - began)
    return times


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.turns", description="Compares single operations of two checkouts in turns."
    )
    parser.add_argument("old", type=Path, help="the other checkout, with its .venv installed")
    parser.add_argument("--only", nargs="+", choices=list(OPERATIONS), metavar="NAME", help=f"some of: {', '.join(OPERATIONS)}")
    parser.add_argument("--turns", type=int, default=TURNS, metavar="N", help=f"turns of each operation in each tree ({TURNS})")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
