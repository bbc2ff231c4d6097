"""Appends many transcript entries fast: entries gather while a call is in flight, and the next call sends all of them.

A call costs about half a millisecond whatever its size, so larger batches raise the throughput. The writer has one thread, which
sends one batch at a time and so keeps the order. It repeats a batch under the same request id until the batch is acknowledged,
so no entry is lost or stored twice.
"""

from __future__ import annotations

import datetime
import sys
import threading
import time as clock
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.blobs.contents import Contents
from holdfast.contract.ids import request_id
from holdfast.contract.messages import message_with
from holdfast.errors import Closed, DeadlineExceeded, HoldfastError, InvalidArgument
from holdfast.v1 import entry_pb2, journal_service_pb2
from holdfast.values.entries import check_entry, check_text
from holdfast.values.fields import json_field, not_utf8, timestamp
from holdfast.values.json_text import LoneSurrogate
from holdfast.wire import forks
from holdfast.wire.scope import Scope

BATCH_ENTRIES = 4000
BATCH_CHARACTERS = 2 << 20  # at most 8 MiB of UTF-8, half the limit of a request
IDLE_S = 5.0

_LEAST_SIZE = BATCH_CHARACTERS // BATCH_ENTRIES  # an entry counts at least this much, so one counter enforces both limits
_CHECKED_CHARACTERS = 1 << 17


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A durable batch: the first and last number of its entries, and the revision of its commit."""

    first_number: int
    last_number: int
    revision: int


class TranscriptWriter:
    """Appends entries to one transcript. Threads may share it; a forked child may not.

    `write` waits only if a full batch has gathered while another is in flight. An error from the daemon is raised by the next
    `write` or `flush`, and at the end of the `with` block. Entries acknowledged before the error are durable; later ones are
    not, except that the batch in flight when the daemon became unreachable may be.

    `Store.close` closes the writer. A program that ends with an open one flushes it, but not one that SIGTERM
    ends, which Python does not handle by default, or `os._exit`: use `with`, and handle SIGTERM (`sys.exit` in the handler is
    enough). An error that nobody was told, because the writer was dropped, is a ResourceWarning with the number of entries.
    """

    _written = _acknowledged = 0
    _told = True  # whether the caller knows of the error

    def __init__(
        self, scope: Scope, *, parent_kind: str, parent_id: str, on_acknowledged: Callable[[Acknowledged], None] | None = None
    ) -> None:
        self._scope = scope
        self._contents = Contents(scope.connection)
        self._parent_kind = parent_kind
        self._parent_id = parent_id
        self._on_acknowledged = on_acknowledged
        self._generation = forks.generation
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        self._sender: threading.Thread | None = None
        self._idle = True
        self._error: Exception | None = None
        self._closed = False
        self._written = 0
        self._acknowledged = 0
        self._last_number = 0
        self._fresh_batch()

    @property
    def written(self) -> int:
        """The number of entries that `write` has taken."""
        return self._written

    @property
    def acknowledged(self) -> int:
        """The number of durable entries; always the first ones written."""
        return self._acknowledged

    @property
    def last_number(self) -> int:
        """The journal number of the last durable entry; 0 before the first."""
        return self._last_number

    def write(
        self,
        *,
        role: str,
        content: str = "",
        task_id: str = "",
        phase: str = "",
        iteration: int = 0,
        metadata: object = None,
        time: datetime.datetime | Timestamp | None = None,
    ) -> None:
        """Takes one entry; see `Transcripts` for its fields. It is durable after `flush`, or when the `with` block ends.

        A content that an entry cannot hold is put into a blob before this returns. Raises InvalidArgument or TooLarge for an
        entry that the daemon would refuse; the entry is dropped and the writer remains usable. Raises the error that ended the
        writer, or Closed.
        """
        if self._generation != forks.generation:
            raise RuntimeError("The writer belongs to the process before the fork; open another one here.")
        with self._lock:
            if self._room <= 0 or self._error is not None or self._closed:
                self._wait_for_room()
            entry = self._entries.add()
            try:
                transcript = entry.transcript
                transcript.role = role
                transcript.content = content
                size = len(content) + len(role)
                if task_id or phase or iteration or metadata is not None or time is not None:
                    size += _set_rarer(transcript, task_id, phase, iteration, metadata, time)
                if not role or "\0" in content or "\0" in role or size > _CHECKED_CHARACTERS:
                    check_entry(entry)
            except (InvalidArgument, UnicodeEncodeError):
                del self._entries[-1]
            except BaseException as error:
                del self._entries[-1]
                raise _named(error) from None
            else:
                self._room -= size if size > _LEAST_SIZE else _LEAST_SIZE
                self._written += 1
                if self._idle:
                    self._wake()
                return
        about = {"task_id": task_id, "phase": phase, "iteration": iteration, "metadata": metadata, "time": time}
        self._write_apart({"role": role, "content": content, **about})

    def _write_apart(self, fields: Mapping[str, object]) -> None:
        """Takes an entry whose content it cannot hold. The content is uploaded first, outside the lock."""
        made = self._contents.stored(fields)
        with self._lock:
            if self._room <= 0 or self._error is not None or self._closed:
                self._wait_for_room()
            self._entries.add().CopyFrom(made)
            self._room -= max(made.ByteSize(), _LEAST_SIZE)
            self._written += 1
            if self._idle:
                self._wake()

    def flush(self, *, timeout_s: float | None = None) -> int:
        """Waits until all entries written so far are durable; returns the last number. Raises the error that ended the writer.

        Raises DeadlineExceeded after `timeout_s`; the writer then goes on sending.
        """
        deadline = None if timeout_s is None else clock.monotonic() + timeout_s
        with self._lock:
            target = self._written
            while self._acknowledged < target and self._error is None:
                self._send_unattended()
                if self._acknowledged < target and self._error is None:
                    self._await_change(deadline)
            self._raise_error()
            return self._last_number

    def settle(self, timeout_s: float | None = None) -> None:
        """Flushes unless the writer is closed. Called by `Store.sync` and when the program ends."""
        if not self._closed:
            self.flush(timeout_s=timeout_s)

    def finish(self, timeout_s: float) -> None:
        """Closes the writer within a time. Called by `Store.close`. An error that was raised before is not raised again."""
        if self._closed:
            return
        if self._error is not None and self._told:
            self._end(timeout_s)
            return
        deadline = clock.monotonic() + timeout_s
        try:
            self.flush(timeout_s=timeout_s)
        finally:
            self._end(max(deadline - clock.monotonic(), 0))

    def close(self) -> None:
        """Flushes and closes the writer. It is closed even if the flush raises. Closing twice does nothing."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._end()

    def __enter__(self) -> TranscriptWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Flushes also after an exception in the block. If the flush fails as well, its error becomes a note of the exception."""
        try:
            self.close()
        except HoldfastError as failure:
            if error is None:
                raise
            error.add_note(f"Of {self._written} entries written only {self._acknowledged} are durable: {failure}")

    def _wait_for_room(self) -> None:
        while self._room <= 0 and self._error is None and not self._closed:
            self._send_unattended()
            if self._room <= 0:
                self._changed.wait()
        self._raise_error()
        if self._closed:
            raise Closed("The writer is closed.")

    def _await_change(self, deadline: float | None) -> None:
        """Waits until entries are acknowledged. Raises DeadlineExceeded at the deadline, RuntimeError in the sending thread."""
        if self._sender is threading.current_thread():
            raise RuntimeError("on_acknowledged runs in the writer's thread and cannot wait for the writer.")
        left_s = None if deadline is None else deadline - clock.monotonic()
        if left_s is not None and left_s <= 0:
            raise DeadlineExceeded(f"{self._extent()} when the time was up; others may follow.")
        self._changed.wait(left_s)

    def _raise_error(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _extent(self) -> str:
        journal = f"transcript of {self._parent_kind} {self._parent_id}"
        return f"Of {self._written:,} entries written to the {journal}, {self._acknowledged:,} are durable"

    def _fresh_batch(self) -> None:
        self._batch = message_with(
            journal_service_pb2.JournalServiceAppendRequest,
            workspace=self._scope.workspace,
            actor=self._scope.actor,
            request_id=request_id(),
            parent_kind=self._parent_kind,
            parent_id=self._parent_id,
        )
        self._entries = self._batch.entries
        self._room = BATCH_CHARACTERS

    def _wake(self) -> None:
        """Wakes the sending thread, or starts it: the thread ends after `IDLE_S` without work."""
        self._idle = False
        if self._sender is None:
            sender = threading.Thread(target=self._send_batches, name="holdfast-writer", daemon=True)
            try:
                sender.start()
            except RuntimeError:  # no thread can start: see `_send_unattended`
                self._idle = True
                return
            self._sender = sender
        else:
            self._work.notify()

    def _send_batches(self) -> None:
        while (batch := self._next_batch()) is not None and self._send(batch):
            pass

    def _send(self, batch: journal_service_pb2.JournalServiceAppendRequest) -> bool:
        try:
            answer = self._scope.connection.call(lambda stubs: stubs.journal.Append, batch)
            self._acknowledge(len(batch.entries), answer)
        except Exception as error:
            self._fail(error)
            return False
        return True

    def _send_unattended(self) -> None:
        """Sends a batch in this thread if no thread will: from Python 3.12 on, an ending interpreter starts no threads."""
        if self._sender is not None or not self._entries or self._error is not None:
            return
        batch, self._sender = self._take_batch(), threading.current_thread()
        self._lock.release()
        try:
            self._send(batch)
        finally:
            self._lock.acquire()
            self._sender = None
            self._changed.notify_all()

    def _next_batch(self) -> journal_service_pb2.JournalServiceAppendRequest | None:
        with self._lock:
            while not self._entries:
                self._idle = True
                if self._closed or (not self._work.wait(IDLE_S) and not self._entries):
                    self._sender = None
                    return None
            self._idle = False
            return self._take_batch()

    def _take_batch(self) -> journal_service_pb2.JournalServiceAppendRequest:
        batch = self._batch
        self._fresh_batch()
        self._changed.notify_all()
        return batch

    def _acknowledge(self, count: int, answer: journal_service_pb2.JournalServiceAppendResponse) -> None:
        with self._lock:
            self._acknowledged += count
            self._last_number = answer.last_number
            self._changed.notify_all()
        if self._on_acknowledged is not None:
            self._on_acknowledged(Acknowledged(answer.first_number, answer.last_number, answer.revision))

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self._written > self._acknowledged:
                error.add_note(f"{self._extent()}.")
                self._told = self._closed
            self._error = error
            self._sender = None
            self._changed.notify_all()

    def _end(self, timeout_s: float | None = None) -> None:
        with self._lock:
            self._closed = True
            sender = self._sender
            self._work.notify()
            self._changed.notify_all()
        if sender is not None and sender is not threading.current_thread():
            sender.join(timeout_s)

    def __del__(self) -> None:
        if not self._told and not sys.is_finalizing() and self._generation == forks.generation:
            lost = f"{self._extent()}; the writer was dropped after: {self._error}"
            warnings.warn(lost, ResourceWarning, stacklevel=2, source=self)


def _set_rarer(
    transcript: entry_pb2.Transcript,
    task_id: str,
    phase: str,
    iteration: int,
    metadata: object,
    time: datetime.datetime | Timestamp | None,
) -> int:
    """Sets the fields that most entries leave empty and returns their size in characters."""
    transcript.task_id = task_id
    transcript.phase = phase
    transcript.iteration = iteration
    if metadata is not None:
        transcript.metadata = json_field(metadata)
    if time is not None:
        transcript.time.CopyFrom(timestamp(time))
    size = len(task_id) + len(phase) + len(transcript.metadata)
    if "\0" in task_id or "\0" in phase or "u0000" in transcript.metadata:
        check_text(transcript)
    return size


def _named(error: BaseException) -> BaseException:
    """The error to raise: InvalidArgument if Python or protobuf rejects a value, else the error itself."""
    if isinstance(error, UnicodeEncodeError):
        return not_utf8("transcript")
    if isinstance(error, LoneSurrogate):
        return not_utf8("transcript.metadata")
    if isinstance(error, ValueError):
        return InvalidArgument(f"transcript: {error}", reason="VALUE_INVALID")
    return error


Writer = TranscriptWriter  # the former name, for programs that import `holdfast.Writer`
