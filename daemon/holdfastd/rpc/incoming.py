"""The messages of an upload: received under permits, counted while they are used, and waited for a limited time.

grpcio's own iterator waits for ever and receives a message of any size whenever the handler asks. This one uses its private
parts, so `MessageFirst` makes it only for a tested version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from holdfastd.errors import DeadlineExceeded, HoldfastError
from holdfastd.model.budget import PATIENCE_S, Claim, NoRoom
from holdfastd.rpc.receipts import Receipts

STALLED_S = 60.0
LATE_S = 0.2  # after which a message counts as late; on a busy machine 1 MiB may take long
MESSAGE_COPIES = 2  # the message and what is made of it
WAIT_S = 0.02


class Incoming:
    """The messages of one client stream, each received under a permit (`receipts.py`), so that an upload occupies memory for a
    message only while the message is on its way. Its thread of the stream pool iterates over it."""

    def __init__(self, requests: Any, receipts: Receipts, claim: Claim, stalled_s: float) -> None:
        """requests: the iterator that grpcio made. claim: for the messages only."""
        self.claim = claim
        self._requests = requests
        self._receipts = receipts
        self._stalled_s = stalled_s
        self._begun = threading.Event()
        self._error: HoldfastError | None = None
        self._ended = False
        self._asked = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Raises RESOURCE_EXHAUSTED when there is no memory for a late message, DEADLINE_EXCEEDED when none comes for long."""
        deadline = time.monotonic() + self._stalled_s
        self.claim.release()  # the message before this one has been used
        self._begun.clear()
        size_bytes = 0
        self._asked = time.monotonic()
        if not self._receipts.ask(self):
            self._begun.wait(self._stalled_s)
            self._asked = time.monotonic()
        try:
            request = self._receive(deadline)
            size_bytes = MESSAGE_COPIES * request.ByteSize() if isinstance(request, Message) else 0
            self._take(size_bytes)
        finally:
            self._receipts.done(self)
            self.claim.give(max(0, self.claim.held_bytes - size_bytes))
        return request

    def _take(self, size_bytes: int) -> None:
        """Waits for memory while it has the permit; a late message has its memory already."""
        give_up = time.monotonic() + PATIENCE_S
        while self.claim.held_bytes < size_bytes and not self.claim.fits(size_bytes):
            self._check(give_up, NoRoom(size_bytes))
            time.sleep(WAIT_S)

    def begin(self) -> bool:
        self._begun.set()
        return not self._ended

    def has_stalled(self) -> bool:
        return time.monotonic() - self._asked >= LATE_S

    def refuse(self, error: HoldfastError) -> None:
        self._error = error
        self._begun.set()
        with self._requests._state.condition:
            self._requests._state.condition.notify_all()

    def _receive(self, deadline: float) -> Any:
        """grpcio's `_RequestIterator._next`, with an end to its wait."""
        condition = self._requests._state.condition
        with condition:
            self._check(deadline, self._stalled())
            self._requests._raise_or_start_receive_message()
            while True:
                condition.wait(max(0.0, deadline - time.monotonic()))
                request = self._requests._look_for_request()
                if request is not None:
                    return request
                self._check(deadline, self._stalled())

    def _stalled(self) -> HoldfastError:
        return DeadlineExceeded(f"No message of the upload arrived for {self._stalled_s:g} s. Send it again.")

    def _check(self, deadline: float, late: HoldfastError) -> None:
        """Raises the error of `refuse`, or `late` after the deadline."""
        if self._error is None and time.monotonic() >= deadline:
            self._error = late
        if self._error is not None:
            self._ended = True
            raise self._error
