"""The messages of an upload: the wait for one ends, and its memory is counted while it is used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.v1 import blob_service_pb2
from holdfastd.errors import DeadlineExceeded
from holdfastd.model.budget import Budget, Claim, NoRoom
from holdfastd.model.call import Peer
from holdfastd.rpc import incoming as module
from holdfastd.rpc import receipts as receipts_module
from holdfastd.rpc.incoming import Incoming
from holdfastd.rpc.receipts import Receipts

MIB = 2**20


class Requests:
    """In grpcio's place: `arrived` is the next message."""

    def __init__(self) -> None:
        self._state = SimpleNamespace(condition=threading.Condition())
        self.arrived: Any = None

    def _raise_or_start_receive_message(self) -> None:
        """Begins nothing: the test sets `arrived`."""

    def _look_for_request(self) -> Any:
        return self.arrived


@pytest.fixture
def budget() -> Budget:
    return Budget(100 * MIB)


@pytest.fixture
def receipts(budget: Budget) -> Iterator[Receipts]:
    made = Receipts(budget, permits=2, largest_bytes=16 * MIB)
    yield made
    made.close()


def claim_of(budget: Budget, connection: str) -> Claim:
    return Claim(budget, Peer(connection, 1, 1000, 1000))


def test_a_stalled_upload_ends(receipts: Receipts, budget: Budget) -> None:
    messages = Incoming(Requests(), receipts, claim_of(budget, "a"), stalled_s=0.05)
    with pytest.raises(DeadlineExceeded):
        next(messages)
    assert not receipts._receiving


def test_memory_is_held_while_a_message_is_used(receipts: Receipts, budget: Budget) -> None:
    requests = Requests()
    requests.arrived = blob_service_pb2.BlobServicePutRequest(chunk=b"x" * MIB)
    messages = Incoming(requests, receipts, claim_of(budget, "a"), stalled_s=5.0)
    with requests._state.condition:
        threading.Timer(0.05, lambda: wake(requests)).start()
    next(messages)
    assert MIB * module.MESSAGE_COPIES <= budget.held_bytes < 3 * MIB


def test_without_room_for_a_message_the_upload_is_refused(
    receipts: Receipts, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    Claim(budget, Peer("other", 1, 1000, 1000)).force(75 * MIB)
    requests = Requests()
    requests.arrived = blob_service_pb2.BlobServicePutRequest(chunk=b"x" * MIB)
    threading.Timer(0.05, lambda: wake(requests)).start()
    with pytest.raises(NoRoom):
        next(Incoming(requests, receipts, claim_of(budget, "a"), stalled_s=5.0))
    assert not receipts._receiving


def test_an_upload_that_is_refused_while_it_waits_ends_at_once(receipts: Receipts, budget: Budget) -> None:
    messages = Incoming(Requests(), receipts, claim_of(budget, "a"), stalled_s=30.0)
    threading.Timer(0.1, lambda: messages.refuse(NoRoom(1))).start()
    began = time.monotonic()
    with pytest.raises(NoRoom):
        next(messages)
    assert time.monotonic() - began < 5.0


def test_a_message_is_late_only_after_a_while(receipts: Receipts, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late message occupies memory of the largest size; one that is on its way does not, for longer than that of a call."""
    assert module.LATE_S > receipts_module.LATE_S
    monkeypatch.setattr(receipts_module, "STALLED_S", 1e9)
    monkeypatch.setattr(module, "LATE_S", 1e9)
    messages, waiting = (Incoming(Requests(), receipts, claim_of(budget, "a"), stalled_s=30.0) for _ in range(2))
    threads = [threading.Thread(target=receive, args=(each,)) for each in (messages, waiting)]
    threads[0].start()
    assert eventually(lambda: messages in receipts._receiving)
    threads[1].start()  # of the same connection, so it waits for the permit
    time.sleep(4 * (receipts_module.LATE_S + receipts_module.LOOK_S))
    assert (messages.has_stalled(), messages.claim.held_bytes) == (False, 0)
    monkeypatch.setattr(module, "LATE_S", 0.2)
    assert eventually(lambda: messages.claim.held_bytes == 16 * MIB)
    for each in (messages, waiting):
        each.refuse(NoRoom(1))
    for thread in threads:
        thread.join()


def receive(messages: Incoming) -> None:
    with pytest.raises(NoRoom):
        next(messages)


def eventually(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5.0
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_true()


def wake(requests: Requests) -> None:
    with requests._state.condition:
        requests._state.condition.notify_all()
