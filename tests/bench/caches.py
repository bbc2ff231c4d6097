"""What the two caches of a reader give: prepared statements, and SQLite's own pages. `python -m tests.bench.caches`.

The daemon keeps no cache of records or entries of its own. A get and a page of 50 are read from a store of 20,000 tasks through
the daemon's own connections, with each cache as it is and turned off, in turn. The operating system has the file in memory.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import holdfast
from holdfast.contract.kinds import KINDS
from holdfastd.store import records
from holdfastd.store.sqlite import database
from holdfastd.store.sqlite.connection import Connection
from tests.conftest import DaemonProcess

TASKS, HOT, CALLS, ROUNDS = 20_000, 200, 2000, 7
PAGE = "SELECT t.image, t.checksum FROM task AS t WHERE t.workspace = ? ORDER BY t.create_time, t.made, t.id LIMIT 50"


class Unprepared:
    """A reader whose statements have each another text, so that none is found prepared."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count()

    def execute(self, sql: str, parameters: tuple[object, ...]) -> object:
        return self._connection.execute(f"{sql} --{next(self._numbers)}", parameters)


def main() -> int:
    """Prints the median time of each read, and the ratio to the caches as they are."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        store = database.Database(_filled(Path(directory)))
        readers = store.open_reader(), store.open_reader(), store.open_reader()
        readers[2].execute("PRAGMA cache_size = 0")
        connections = {"as it is": readers[0], "nothing prepared": Unprepared(readers[1]), "no pages kept": readers[2]}
        for name, call in (("get, of 200 tasks", _get), ("get, of 20,000 tasks", _get_any), ("page of 50", _page)):
            times = _measured(connections, call)
            for each, microseconds in times.items():
                print(f"{name:22} {each:20} {microseconds:8.1f} us   {microseconds / times['as it is']:.2f}")
        for reader in readers:
            reader.close()
    return 0


def _filled(directory: Path) -> Path:
    daemon = DaemonProcess(directory, "--data-dir", f"{directory}/data")
    daemon.start()
    with holdfast.connect(daemon.socket_path) as store:
        for start in range(0, TASKS, 1000):
            with store.transaction() as step:
                for number in range(start, start + 1000):
                    step.tasks.create(id=f"T-{number}", title=f"Task {number}", description="what to do " * 20)
    daemon.stop()
    return daemon.data_dir / "holdfast.db"


def _measured(connections: dict[str, Any], call: Callable[[Any, Iterator[int]], object]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in connections}
    for round_number, (name, connection) in itertools.product(range(ROUNDS), connections.items()):
        numbers = iter(random.Random(round_number).choices(range(TASKS), k=CALLS))
        began = time.perf_counter()
        for _ in range(CALLS):
            call(connection, numbers)
        found[name].append((time.perf_counter() - began) / CALLS * 1e6)
    return {name: statistics.median(series) for name, series in found.items()}


def _get(connection: Any, numbers: Iterator[int]) -> object:
    return records.image(connection, KINDS["task"], "default", f"T-{next(numbers) % HOT}")


def _get_any(connection: Any, numbers: Iterator[int]) -> object:
    return records.image(connection, KINDS["task"], "default", f"T-{next(numbers)}")


def _page(connection: Any, numbers: Iterator[int]) -> object:
    return connection.execute(PAGE, ("default",)).fetchall()


if __name__ == "__main__":
    sys.exit(main())
