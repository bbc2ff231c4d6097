"""Greedy callers, in a process of their own that can be frozen or killed: `python -m tests.abuse.callers SOCKET WHAT COUNT`.

The process opens COUNT calls at once, prints a line when they are under way, and another with the outcomes when all have ended.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import grpc

from holdfast.contract.kinds import KINDS
from holdfast.v1 import admin_service_pb2, blob_service_pb2, entry_pb2, journal_service_pb2, store_service_pb2
from tests.support.api import Api, insert

WORKSPACE = "greedy"
SESSION = "S"
CONTENT_BYTES = 64 << 20
TASK_BYTES = 1_980_000
HOLD_S = 8.0  # how long a Put waits before it ends
_TIMEOUT_S = 120.0
_COMMIT_TASKS = 8
_SMALL_BYTES = 4096
_LIGHT_BYTES, _LIGHT_AT_ONCE = 60_000, 128  # the writer takes such commits as light ones
_WALK_S = 3.0
_MUTATIONS = 1_000
_SERIES = 6
_CHANNELS = 4


class GreedyCallers:
    """Starts the process; `freeze` it with SIGSTOP, or wait for its `outcomes`."""

    def __init__(self, socket: Path, what: str, count: int) -> None:
        command = [sys.executable, "-m", "tests.abuse.callers", str(socket), what, str(count)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines: IO[str] = self._process.stdout
        assert self._lines.readline() == "begun\n", f"the greedy callers ({what}) could not begin"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def outcomes(self) -> dict[str, int]:
        """Waits until all calls have ended; returns how often each code was answered."""
        found: dict[str, int] = json.loads(self._lines.readline() or "{}")
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._lines.close()


def large_tasks(count: int) -> list[store_service_pb2.Mutation]:
    text = os.urandom(1 << 18).hex() + "x" * (TASK_BYTES - (1 << 19))
    return [insert("task", title="large", description=text) for _ in range(count)]


def seed(socket: Path, large_commits: int) -> None:
    """Writes what the greedy callers read: large tasks, a session, and large entries."""
    with Api(socket, workspace=WORKSPACE) as api:
        api.insert("session", id=SESSION, title="s")
        for _ in range(large_commits):
            api.commit(*large_tasks(_COMMIT_TASKS - 1))
        for _ in range(30):
            api.append(SESSION, "y" * 900_000)


def seed_history(socket: Path, commits: int) -> None:
    """Writes so many thousand small records."""
    with Api(socket, workspace=WORKSPACE) as api:
        for _ in range(commits):
            api.commit(*[insert("session", title="t")] * _MUTATIONS)


def main(socket: Path, what: str, count: int) -> None:
    options = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1}
    apis = [Api(socket, workspace=WORKSPACE, **options) for _ in range(_CHANNELS)]
    begin = _WHAT[what](apis[0], count)
    calls = [begin(apis[number % _CHANNELS]) for number in range(count)]
    print("begun", flush=True)
    print(json.dumps(collections.Counter(map(_outcome, calls))), flush=True)


def _outcome(call: Any) -> str:
    try:
        call.result()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


class _Stream:
    """A stream that is read to its end, after a while in which nothing of it is read."""

    def __init__(self, stream: Any, hold_s: float = 0.0) -> None:
        self._stream = stream
        self._until = time.monotonic() + hold_s

    def result(self) -> None:
        time.sleep(max(0.0, self._until - time.monotonic()))
        collections.deque(self._stream, maxlen=0)


class _Series:
    """Calls one after the other, in a thread."""

    def __init__(self, calls: Callable[[], Any]) -> None:
        self._failure: grpc.RpcError | None = None
        self._calls = calls
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def result(self) -> None:
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._calls()
        except grpc.RpcError as error:
            self._failure = error


Begin = Callable[[Api], Any]


def _commits(api: Api, count: int) -> Begin:
    """Commits of almost 16 MiB, all of them the same message."""
    request = store_service_pb2.StoreServiceCommitRequest(workspace=WORKSPACE, mutations=large_tasks(_COMMIT_TASKS))
    return lambda api: api.store.Commit.future(request, timeout=_TIMEOUT_S)


def _scans(api: Api, count: int) -> Begin:
    """Scans of all tasks, whose frames nobody takes before all have begun."""
    request = store_service_pb2.StoreServiceScanRequest(workspace=WORKSPACE, lists=[store_service_pb2.ScanList(kind="task")])

    return lambda api: _Stream(api.store.Scan(request, timeout=_TIMEOUT_S), HOLD_S)


def _lists(api: Api, count: int) -> Begin:
    """Lists of about 4 MB each."""
    request = store_service_pb2.StoreServiceListRequest(workspace=WORKSPACE, kind="task", page_size=2)
    return lambda api: api.store.List.future(request, timeout=_TIMEOUT_S)


def _puts(api: Api, count: int) -> Begin:
    """Uploads of 64 MiB with a base, which the daemon gathers until they end."""
    base = api.put(b"z" * 3_000_000).digest
    chunk = blob_service_pb2.BlobServicePutRequest(chunk=b"k" * (1 << 20))
    end = time.monotonic() + HOLD_S

    def frames() -> Iterator[blob_service_pb2.BlobServicePutRequest]:
        yield blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader(base_digest=base))
        for _ in range(CONTENT_BYTES >> 20):
            yield chunk
        threading.Event().wait(max(0.0, end - time.monotonic()))

    return lambda api: api.blob.Put.future(frames(), timeout=_TIMEOUT_S)


def _small(api: Api, count: int) -> Begin:
    """Series of requests of at most 4 KiB with as much work as fits, since some requests run in the thread that serves all."""
    inserts = _filled(lambda n: _insert_request([insert("task", title="t")] * n))
    tags = _filled(lambda n: _insert_request([insert("task", title="t", tags=[chr(0x100 + each) for each in range(n)])]))
    keys = _filled(lambda n: _insert_request([insert("task", title="t", metadata=json.dumps(dict.fromkeys(range(n), 1)))]))
    entry = entry_pb2.Entry(transcript=entry_pb2.Transcript(role="r"))
    append = _filled(
        lambda n: journal_service_pb2.JournalServiceAppendRequest(
            workspace=WORKSPACE, parent_kind="session", parent_id=SESSION, entries=[entry] * n
        )
    )
    ids = store_service_pb2.StoreServiceAllocateIdRequest(workspace=WORKSPACE, kind="task", count=1000)

    def calls(api: Api) -> None:
        for _ in range(_SERIES):
            for each in (inserts, tags, keys):
                api.store.Commit(each, timeout=_TIMEOUT_S)
            api.journal.Append(append, timeout=_TIMEOUT_S)
            api.store.AllocateId(ids, timeout=_TIMEOUT_S)

    return lambda api: _Series(lambda: calls(api))


def _insert_request(mutations: list[store_service_pb2.Mutation]) -> store_service_pb2.StoreServiceCommitRequest:
    return store_service_pb2.StoreServiceCommitRequest(workspace=WORKSPACE, mutations=mutations)


def _filled(request: Callable[[int], Any]) -> Any:
    """The request for the largest number that leaves it small."""
    return request(bisect_right(range(_SMALL_BYTES), _SMALL_BYTES, key=lambda number: request(number).ByteSize()) - 1)


def _walks(api: Api, count: int) -> Begin:
    """Series of reads that walk the history and find nothing, verifies, and light commits, each without a pause."""
    audit = journal_service_pb2.JournalServiceListRequest(workspace=WORKSPACE, journal="audit", filter='actor = "nobody"')
    titles = store_service_pb2.StoreServiceCountRequest(workspace=WORKSPACE, kind="session", filter='title : "zz"')
    verify = admin_service_pb2.AdminServiceVerifyRequest()
    light = _insert_request([insert("task", title="t", description="x" * _LIGHT_BYTES)])

    def commits(api: Api) -> None:
        for call in [api.store.Commit.future(light, timeout=_TIMEOUT_S) for _ in range(_LIGHT_AT_ONCE)]:
            call.result()

    walks: list[Callable[[Api], Any]] = [
        lambda api: api.changes(after_revision=0, kinds=["task"], ids=["none"]),
        lambda api: api.journal.List(audit, timeout=_TIMEOUT_S),
        lambda api: api.store.Count(titles, timeout=_TIMEOUT_S),
        lambda api: collections.deque(api.admin.Verify(verify, timeout=_WALK_S), maxlen=0),
        commits,
    ]
    walk_of_next = itertools.cycle(walks)

    def begin(api: Api) -> Any:
        walk, end = next(walk_of_next), time.monotonic() + _WALK_S
        return _Series(lambda: _repeat(lambda: walk(api), end))

    return begin


def _repeat(call: Callable[[], Any], end: float) -> None:
    """Calls until then; a refusal for lack of room or time is what the caller of an overloaded daemon expects."""
    while time.monotonic() < end:
        try:
            call()
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            time.sleep(0.02)


def _watches(api: Api, count: int) -> Begin:
    return lambda api: _Stream(api.watch(after_revision=0, timeout_s=None))


def _wide_watches(api: Api, count: int) -> Begin:
    """Watches of as many kinds and ids as a request may name."""
    names = list(KINDS)
    kinds, ids = (names * (1000 // len(names) + 1))[:1000], [f"id-{number}" for number in range(1000)]
    return lambda api: _Stream(api.watch(kinds=kinds, ids=ids, timeout_s=HOLD_S))


def _reads(api: Api, count: int) -> Begin:
    return lambda api: _Stream(api.read(SESSION, follow=True, timeout_s=None))


def _downloads(api: Api, count: int) -> Begin:
    """Downloads of a blob that does not compress."""
    digest = api.put_stream(os.urandom(1 << 20) for _ in range(CONTENT_BYTES >> 20)).digest
    return lambda api: _Stream(api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=digest)))


_WHAT: dict[str, Callable[[Api, int], Begin]] = {
    "commits": _commits,
    "scans": _scans,
    "lists": _lists,
    "puts": _puts,
    "small": _small,
    "walks": _walks,
    "watches": _watches,
    "wide-watches": _wide_watches,
    "reads": _reads,
    "downloads": _downloads,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
