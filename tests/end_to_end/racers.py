"""One process of a race: many threads write to the same few tasks at once.

`python -m tests.end_to_end.racers SOCKET WORKSPACE THREADS TASK…` prints `ready`, waits for a line, runs the race and prints
its report as JSON. A test with a single process calls `race` itself.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import holdfast

INCREMENTS = 3  # per thread
EDGES = 6
IDS = 5


class Racer:
    """The part of one process. Its threads share a client."""

    def __init__(self, store: holdfast.Store, tasks: Sequence[str]) -> None:
        self.store = store
        self.tasks = tasks
        self.increments: Counter[str] = Counter()
        self.versions: list[tuple[str, int]] = []
        self.refused_cycles = 0
        self.edges = 0
        self.ids: list[str] = []
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def run(self, number: int) -> None:
        """The part of one thread."""
        try:
            chance = random.Random(number)
            for _ in range(INCREMENTS):
                self._increment(chance.choice(self.tasks))
            for _ in range(EDGES):
                self._connect(chance)
            for _ in range(IDS):
                made = self.store.tasks.next_id() if chance.random() < 0.5 else self.store.tasks.create(title="new").id
                with self._lock:
                    self.ids.append(made)
        except Exception as error:
            self.errors.append(repr(error))

    def _increment(self, id: str) -> None:
        """Adds one to the number in a task's metadata; on a version conflict it reads again and retries."""
        while True:
            task = self.store.tasks.get(id)
            number = task.metadata["number"]
            try:
                done = self.store.tasks.update(id, version=task.version, metadata={"number": number + 1})
            except holdfast.VersionMismatch:
                continue
            with self._lock:
                self.increments[id] += 1
                self.versions.append((id, done.version))
            return

    def _connect(self, chance: random.Random) -> None:
        """Makes a task wait for another. Whether that closes a cycle depends on the other threads."""
        waits, blocks = chance.sample(list(self.tasks), 2)
        try:
            done = self.store.tasks.update(waits, blocked_by=[blocks])
        except holdfast.HoldfastError as error:
            if error.reason != "DEPENDENCY_CYCLE":
                raise
            with self._lock:
                self.refused_cycles += 1
        else:
            with self._lock:
                self.edges += 1
                self.versions.append((waits, done.version))


def race(store: holdfast.Store, tasks: Sequence[str], threads: int, seed: int) -> Racer:
    """Starts the threads together and waits for them."""
    racer = Racer(store, tasks)
    running = [threading.Thread(target=racer.run, args=(seed * 1000 + number,)) for number in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    return racer


def main(socket: str, workspace: str, threads: str, seed: str, *tasks: str) -> None:
    with holdfast.connect(Path(socket), workspace=workspace, actor=f"racer-{seed}") as store:
        store.status()
        print("ready", flush=True)
        sys.stdin.readline()
        racer = race(store, tasks, int(threads), int(seed))
    names = ("increments", "versions", "refused_cycles", "edges", "ids", "errors")
    print(json.dumps({name: getattr(racer, name) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
