"""One process of a race about one workflow: many threads change its phases and store it at once.

`python -m tests.end_to_end.workflow_racers SOCKET WORKSPACE NUMBER` prints `ready`, waits for a line, runs the race and
prints the versions that it made as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import holdfast
from holdfast.v1 import record_pb2

THREADS = 4
PHASES = 4  # set by each thread


class WorkflowRacer:
    """The part of one process. Its threads share a client."""

    def __init__(self, store: holdfast.Store, number: int) -> None:
        self._store = store
        self._number = number
        self._lock = threading.Lock()
        self.versions: list[int] = []
        self.equal: list[int] = []
        self.errors: list[str] = []

    def race(self) -> None:
        running = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]
        for each in running:
            each.start()
        for each in running:
            each.join()

    def _run(self, thread: int) -> None:
        try:
            self._note(self.equal, self._store.workflows.store("same", name="equal to all", phases=[{"name": "only"}]))
            for number in range(PHASES):
                name = f"{self._number}-{thread}-{number}"
                self._note(self.versions, self._store.workflows.set_phase("ship", name, gate_type="human"))
            self._note(self.versions, self._store.workflows.set_variable("ship", f"V{self._number}-{thread}"))
            self._note(self.versions, self._store.workflows.remove_phase("ship", f"{self._number}-{thread}-0"))
        except Exception as error:
            self.errors.append(repr(error))

    def _note(self, made: list[int], version: record_pb2.Workflow) -> None:
        with self._lock:
            made.append(version.workflow_version)


def main(socket: str, workspace: str, number: str) -> None:
    with holdfast.connect(Path(socket), workspace=workspace, actor=f"racer-{number}") as store:
        store.status()
        print("ready", flush=True)
        sys.stdin.readline()
        racer = WorkflowRacer(store, int(number))
        racer.race()
    print(json.dumps({"versions": racer.versions, "equal": racer.equal, "errors": racer.errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
