"""`python -m tests.bench.views`: what views cost: the same reads of one daemon as messages and as views, in turns.

A list of 50 tasks with two fields of each used, and a transcript of 100,000 entries with the content used. The time with views
may be 1.1 times that with messages for the list, and 1/0.9 times for the transcript.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import holdfast
from holdfast.cli.reach import records_of
from holdfast.contract.kinds import KINDS
from holdfast.wire.autostart import answers

TASKS, ENTRIES, CONTENT = 50, 100_000, "x" * 200
Reads = Mapping[str, Callable[[], object]]


def main() -> None:
    """Prints a row for each way to read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of the transcript; the list is read 100 times as often")
    rounds = parser.parse_args().rounds
    print("| read | p50, ms | ratio of p50 | best, ms | ratio of best |\n|---|---|---|---|---|")
    with _store() as store:
        _compare(_lists(store), rounds * 100)
        _compare(_transcripts(store), rounds)


@contextmanager
def _store() -> Iterator[holdfast.Store]:
    with tempfile.TemporaryDirectory(prefix="views-") as place:
        socket = Path(place, "s.sock")
        command = [sys.executable, "-m", "holdfastd", "--data-dir", f"{place}/store", "--socket", str(socket)]
        daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while not answers(socket):
                time.sleep(0.05)
            with holdfast.connect(socket) as store:
                yield store
        finally:
            daemon.terminate()
            daemon.wait()


def _lists(store: holdfast.Store) -> Reads:
    with store.transaction() as commit:
        for number in range(TASKS):
            commit.tasks.create(title=f"Task {number}", tags=["a", "b"], metadata={"number": number})
    messages = records_of(store, KINDS["task"])
    return {
        "tasks as messages": lambda: [each.title + each.status for each in messages.list(limit=TASKS)],
        "tasks as views": lambda: [each.title + each.status for each in store.tasks.list(limit=TASKS)],
    }


def _transcripts(store: holdfast.Store) -> Reads:
    session = store.sessions.create(title="long").id
    with store.transcripts.writer(session) as writer:
        for _ in range(ENTRIES):
            writer.write(role="response", content=CONTENT)

    def messages() -> Iterable[object]:
        reader = store.transcripts.read(session)
        reader._values_of = lambda entries: entries
        return reader

    return {
        "entries as messages": lambda: sum(len(each.transcript.content) for each in messages()),  # type: ignore[attr-defined]
        "entry.content": lambda: sum(len(each.content) for each in store.transcripts.read(session)),
        "entry.transcript.content": lambda: sum(len(each.transcript.content) for each in store.transcripts.read(session)),
    }


def _compare(reads: Reads, rounds: int) -> None:
    """The first of the reads is what the others are compared with."""
    times: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(rounds):
        for name, read in reads.items():
            began = time.perf_counter()
            read()
            times[name].append((time.perf_counter() - began) * 1000)
    first = next(iter(times.values()))
    for name, each in times.items():
        ratios = median(each) / median(first), min(each) / min(first)
        print(f"| {name} | {median(each):.2f} | {ratios[0]:.2f} | {min(each):.2f} | {ratios[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
