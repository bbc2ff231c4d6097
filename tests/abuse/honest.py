"""An honest caller beside an attack: small reads and writes, one after the other, on its own connection and in its own process.

It uses the raw stubs, because the client library would repeat a failed call. Every call that does not succeed is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import grpc

from holdfast.v1 import entry_pb2, journal_service_pb2, store_service_pb2
from tests.support.api import Api

TIMEOUT_S = 10.0
P99_LIMIT_MS = 250.0
_PAUSE_S = 0.004


@dataclass(frozen=True)
class Answers:
    """What the caller got."""

    calls: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def __str__(self) -> str:
        failed = f"{self.failed} failed {self.failures}" if self.failures else "none failed"
        times = f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.0f} ms, worst {self.worst_ms:.0f} ms"
        return f"{self.calls} honest calls, {times}, {failed}"


class HonestCaller:
    """Runs the caller's process while the block runs; afterwards `answers` has the result."""

    def __init__(self, socket: Path) -> None:
        self.answers = Answers()
        self._command = [sys.executable, "-m", "tests.abuse.honest", str(socket)]

    def __enter__(self) -> HonestCaller:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the honest caller could not begin"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        output, _ = self._process.communicate(timeout=TIMEOUT_S + 30)
        self.answers = Answers(**json.loads(output))


def main(socket: Path) -> None:
    """Calls until stdin is closed, then prints the answers as JSON."""
    with Api(socket, workspace="honest") as api:
        session = api.insert("session", title="honest")
        calls = _Calls(api, session)
        calls.one_each()
        print("ready", flush=True)
        done = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
        while not done.wait(_PAUSE_S):
            calls.one_each()
        print(json.dumps(vars(calls.answers())), flush=True)


class _Calls:
    def __init__(self, api: Api, session: str) -> None:
        self._api = api
        self._get = store_service_pb2.StoreServiceGetRequest(workspace=api.workspace, kind="session", id=session)
        entry = entry_pb2.Entry(transcript=entry_pb2.Transcript(role="honest", content="x"))
        self._append = journal_service_pb2.JournalServiceAppendRequest(
            workspace=api.workspace, parent_kind="session", parent_id=session, entries=[entry]
        )
        self._latencies_s: list[float] = []
        self._failures: Counter[str] = Counter()

    def one_each(self) -> None:
        """A read and a write."""
        for method, request in ((self._api.store.Get, self._get), (self._api.journal.Append, self._append)):
            began = time.monotonic()
            try:
                method(request, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                self._failures[f"{error.code().name}: {(error.details() or '')[:60]}"] += 1
                time.sleep(0.02)
            self._latencies_s.append(time.monotonic() - began)

    def answers(self) -> Answers:
        ordered = sorted(1e3 * each for each in self._latencies_s)
        count = len(ordered)
        return Answers(count, ordered[count // 2], ordered[int(count * 0.99)], ordered[-1], dict(self._failures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
