"""AdminService: the daemon's status, jobs on demand, and the verification of the whole store."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from google.protobuf.message import DecodeError

from holdfast.v1 import admin_service_pb2 as pb
from holdfastd import MAX_API_VERSION, MIN_API_VERSION, __version__
from holdfastd.errors import DataLoss, Exhausted
from holdfastd.model import codec
from holdfastd.model.blobs import BlobProblem
from holdfastd.model.budget import PATIENCE_S
from holdfastd.model.call import Call
from holdfastd.model.jobs import Progress
from holdfastd.model.pages import decode_token, encode_token, page_size
from holdfastd.model.turns import Turns
from holdfastd.service.blobs.calls import Blobs
from holdfastd.service.decoding import check_api_version
from holdfastd.service.reading import Reading
from holdfastd.service.unread import Unread
from holdfastd.store import changes, verify_checksums, workspaces
from holdfastd.store.engine import Readers
from holdfastd.store.verify import CHECK_BYTES, Problem, TableCheck

MAX_REPORTED = 1_000  # problems that one check reports
VERIFY_DELAY_S = 10.0

WORKSPACES_IN_STATUS = 100
PROBLEMS_A_FRAME = 500
_WORKSPACES = ("workspaces",)  # what a page token belongs to


class Jobs(Protocol):
    """The part of the scheduler that AdminService uses."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def run(
        self, name: str, call: Call, *, dry_run: bool, options: Mapping[str, str], progress: Progress
    ) -> Mapping[str, int]: ...


class MemoryUse(Protocol):
    """How much memory callers may occupy, and do."""

    @property
    def limit_bytes(self) -> int: ...

    @property
    def held_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The part of the status that does not change while the daemon runs. Times are nanoseconds since 1970 UTC."""

    store_id: str
    schema_version: int
    data_dir: str
    socket_path: str
    persistence: str
    start_time_ns: int


class Admin:
    """The operations of AdminService. Thread-safe."""

    def __init__(
        self,
        identity: Identity,
        reading: Reading,
        readers: Readers,
        blobs: Blobs,
        jobs: Jobs,
        queued: Callable[[], int],
        database_bytes: Callable[[], int],
        memory: MemoryUse,
        warnings: Callable[[], list[str]],
        unread: Unread,
    ) -> None:
        self._identity = identity
        self._reading = reading
        self._readers = readers
        self._blobs = blobs
        self._jobs = jobs
        self._queued = queued
        self._database_bytes = database_bytes
        self._memory = memory
        self._warnings = warnings
        self._unread = unread
        self._last_verify: pb.VerifySummary | None = None
        self._verifying = Turns(1)

    def get_status(self, request: pb.AdminServiceGetStatusRequest, call: Call) -> pb.AdminServiceGetStatusResponse:
        """Versions, identity, sizes, jobs and warnings."""
        if request.api_version:
            check_api_version(request.api_version)
        identity = self._identity
        response = pb.AdminServiceGetStatusResponse(
            daemon_version=__version__,
            min_api_version=MIN_API_VERSION,
            max_api_version=MAX_API_VERSION,
            store_id=identity.store_id,
            schema_version=identity.schema_version,
            pid=os.getpid(),
            data_dir=identity.data_dir,
            socket_path=identity.socket_path,
            persistence=identity.persistence,
            queued_commits=self._queued(),
            database_bytes=self._database_bytes(),
            memory_max_bytes=self._memory.limit_bytes,
            memory_held_bytes=self._memory.held_bytes,
            jobs=self._jobs.names,
            warnings=self._warnings(),
            last_verify=self._last_verify,
            unreadable_count=self._unread.count,
        )
        codec.set_time(response.start_time, identity.start_time_ns)
        self._fill_revisions(response, call)
        if not request.brief:
            self._fill_sizes(response, call)
        return response

    def _fill_revisions(self, response: pb.AdminServiceGetStatusResponse, call: Call) -> None:
        with self._reading.snapshot(call, "") as snapshot:
            response.revision = snapshot.revision
            try:
                response.oldest_revision = changes.oldest_revision(snapshot.connection)
            except DataLoss as error:
                response.warnings.append(str(error))

    def _fill_sizes(self, response: pb.AdminServiceGetStatusResponse, call: Call) -> None:
        with self._readers.snapshot(call) as connection:
            response.workspaces.extend(workspaces.names(connection, "", WORKSPACES_IN_STATUS))
            response.workspace_count = workspaces.count(connection)
        totals = self._blobs.totals(call)
        response.blob_count, response.blob_bytes, response.blob_stored_bytes = (
            totals.count,
            totals.size_bytes,
            totals.stored_bytes,
        )

    def list_workspaces(self, request: pb.AdminServiceListWorkspacesRequest, call: Call) -> pb.AdminServiceListWorkspacesResponse:
        """One page of workspaces, by name."""
        limit = page_size(request.page_size)
        after = decode_token(request.page_token, _WORKSPACES, 1)
        with self._readers.snapshot(call) as connection:
            found = workspaces.names(connection, str(after[0]) if after else "", limit + 1)
        response = pb.AdminServiceListWorkspacesResponse(workspaces=[pb.Workspace(name=name) for name in found[:limit]])
        if len(found) > limit:
            response.next_page_token = encode_token(_WORKSPACES, found[limit - 1 : limit])
        return response

    def run_job(self, request: pb.AdminServiceRunJobRequest, call: Call) -> Iterator[pb.AdminServiceRunJobResponse]:
        """Runs a job and streams its progress. The last frame has the counts."""

        def work(progress: Progress) -> Mapping[str, int]:
            return self._jobs.run(request.job, call, dry_run=request.dry_run, options=dict(request.options), progress=progress)

        for frame in _streamed(work):
            if isinstance(frame, tuple):
                phase, done, total = frame
                yield pb.AdminServiceRunJobResponse(phase=phase, done=done, total=total)
            else:
                yield pb.AdminServiceRunJobResponse(finished=True, counts=frame)

    def verify(self, request: pb.AdminServiceVerifyRequest, call: Call) -> Iterator[pb.AdminServiceVerifyResponse]:
        """Checks the whole store and streams the problems found. One call at a time, because it reads every row.

        RESOURCE_EXHAUSTED (VERIFY_BUSY) when its turn does not come within PATIENCE_S.
        """
        call.is_long = True
        if not self._verifying.take(call, PATIENCE_S):
            call.check()
            raise Exhausted(
                "Another verify is running. Try again when it has ended, in a minute or later.",
                reason="VERIFY_BUSY",
                retry_delay_s=VERIFY_DELAY_S,
            )
        try:
            call.claim.take_when_free(CHECK_BYTES, call)
            yield from self._verify(request, call)
        finally:
            self._verifying.give(call.peer, is_long=True)

    def _verify(self, request: pb.AdminServiceVerifyRequest, call: Call) -> Iterator[pb.AdminServiceVerifyResponse]:
        counts: Counter[str] = Counter()
        checks = verify_checksums.checks(self._identity.store_id)
        for done, (phase, check) in enumerate(checks.items()):
            yield pb.AdminServiceVerifyResponse(phase=phase, done=done, total=len(checks))
            found = self._found(check, phase, call)
            counts["problems"] += len(found)
            for start in range(0, len(found), PROBLEMS_A_FRAME):
                yield _problems(phase, found[start : start + PROBLEMS_A_FRAME])
        yield from self._verify_blobs(request.read_blobs, call, counts)
        summary = pb.VerifySummary(problem_count=counts["problems"])
        codec.set_time(summary.finish_time, time.time_ns())
        self._last_verify = summary
        yield pb.AdminServiceVerifyResponse(finished=True, counts=counts)

    def _found(self, check: TableCheck, phase: str, call: Call) -> list[Problem]:
        """The problems that a check finds. What stops the check is a problem too: the rest of that table was not checked."""
        found: list[Problem] = []
        try:
            with self._readers.snapshot(call) as connection:
                found.extend(islice(check(connection), MAX_REPORTED))
        except (DataLoss, DecodeError, TypeError, ValueError) as error:
            found.append(Problem("table_unreadable", phase, f"the check stopped, the rest is not checked: {_fault(error)}"))
        if len(found) == MAX_REPORTED:
            found.append(Problem("table_damaged", phase, f"the check stopped after {MAX_REPORTED:,} problems"))
        return found

    def _verify_blobs(self, read_blobs: bool, call: Call, counts: Counter[str]) -> Iterator[pb.AdminServiceVerifyResponse]:
        progress: queue.SimpleQueue[tuple[str, int, int]] = queue.SimpleQueue()
        problems = self._blobs.verify(read_blobs, lambda phase, done, total: progress.put((phase, done, total)), call)
        for problem in _until_unreadable(problems):
            counts["problems"] += 1
            yield from _drained(progress, counts)
            yield _problems("blobs", [problem])
        yield from _drained(progress, counts)


def _until_unreadable(problems: Iterator[BlobProblem]) -> Iterator[BlobProblem]:
    """The problems. Damage that ends the check is the last one."""
    try:
        yield from problems
    except (DataLoss, TypeError, ValueError) as error:
        yield BlobProblem("table_unreadable", "blobs", f"the check stopped, the rest is not checked: {_fault(error)}")


def _fault(error: Exception) -> str:
    return error.fault if isinstance(error, DataLoss) else str(error)


def _drained(progress: queue.SimpleQueue[tuple[str, int, int]], counts: Counter[str]) -> Iterator[pb.AdminServiceVerifyResponse]:
    while not progress.empty():
        phase, done, total = progress.get()
        counts[phase] = max(counts[phase], done)
        yield pb.AdminServiceVerifyResponse(phase=phase, done=done, total=total)


def _problems(phase: str, found: list[Problem] | list[BlobProblem]) -> pb.AdminServiceVerifyResponse:
    frame = pb.AdminServiceVerifyResponse(phase=phase)
    for each in found:
        detail = each.detail if isinstance(each, Problem) else each.message
        frame.problems.add(reason=each.reason, subject=each.subject, detail=detail)
    return frame


def _streamed(work: Callable[[Progress], Mapping[str, int]]) -> Iterator[tuple[str, int, int] | Mapping[str, int]]:
    """Runs the work in a new thread. Yields its progress reports, then its result. Raises its exception."""
    frames: queue.SimpleQueue[tuple[str, int, int] | Mapping[str, int] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            frames.put(work(lambda phase, done, total: frames.put((phase, done, total))))
        except Exception as error:
            frames.put(error)

    try:
        threading.Thread(target=run, name="job", daemon=True).start()
    except RuntimeError as error:
        raise Exhausted(
            "The system starts no more threads. Try again, or raise the limit of processes (`ulimit -u`).",
            reason="TOO_MANY_THREADS",
            retry_delay_s=1.0,
        ) from error
    while True:
        frame = frames.get()
        if isinstance(frame, Exception):
            raise frame
        yield frame
        if not isinstance(frame, tuple):
            return
