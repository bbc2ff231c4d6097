"""Calls, retries and streams that another thread cancels."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import holdfast
from tests.conftest import DaemonProcess


@contextmanager
def suspended(store: holdfast.Store) -> Iterator[None]:
    """The daemon neither answers nor refuses."""
    pid = store.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def cancelled_after(seconds: float, work: Callable[[holdfast.Store], object], store: holdfast.Store) -> holdfast.Cancelled:
    """Cancels the work, which must end at once, and leaves nothing registered."""
    stop = holdfast.Cancellation()
    timer = threading.Timer(seconds, stop)
    timer.start()
    began = time.monotonic()
    with pytest.raises(holdfast.Cancelled) as raised:
        work(store.with_cancellation(stop))
    assert time.monotonic() - began < seconds + 1
    assert type(raised.value) is holdfast.Cancelled and stop.cancelled
    assert stop._running == {}
    timer.join()
    return raised.value


def test_a_call_to_a_daemon_that_does_not_answer(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        store.tasks.create(title="before")
        with suspended(store):
            error = cancelled_after(0.2, lambda s: s.tasks.create(title="x"), store)
            assert error.metadata["sent"] == "maybe" and error.metadata["request_id"]
            error = cancelled_after(0.2, lambda s: s.tasks.count(), store)
            assert str(error) == "The call was cancelled."
            cancelled_after(0.2, lambda s: s.blobs.put(b"x" * 3_000_000), store)
            cancelled_after(0.2, lambda s: list(s.blobs.chunks("sha256:" + "0" * 64, 0, 0)), store)
        assert store.tasks.count() >= 1, "other stores on the connection go on"


def test_a_retry_while_the_daemon_is_away(own_daemon: DaemonProcess) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        session = store.sessions.create(title="s")
        own_daemon.kill()
        cancelled_after(0.3, lambda s: s.tasks.create(title="x"), store)
        cancelled_after(0.3, lambda s: list(s.transcripts.read(session.id)), store)
        cancelled_after(0.3, lambda s: s.blobs.put(b"x"), store)
        own_daemon.start()


def test_streams_that_wait(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    store.transcripts.append(session.id, role="note")
    cancelled_after(0.2, lambda s: list(s.transcripts.follow(session.id)), store)
    cancelled_after(0.2, lambda s: list(s.watch(since=0)), store)
    stop = holdfast.Cancellation()
    with store.with_cancellation(stop).transcripts.follow(session.id) as entries:
        next(entries)
        assert len(stop._running) == 1
    assert stop._running == {}
    del entries
    next(iter(store.with_cancellation(stop).watch(since=0)))
    gc.collect()
    assert stop._running == {}, "a stream that is dropped is not kept"


def test_after_the_cancellation_nothing_is_sent(store: holdfast.Store) -> None:
    stop = holdfast.Cancellation()
    bound = store.with_cancellation(stop)
    bound.tasks.create(title="in time")
    assert not stop.cancelled and stop._running == {}
    stop()
    stop()
    for work in (
        lambda: bound.tasks.create(title="late"),
        lambda: bound.with_timeout(3).tasks.count(),
        lambda: list(bound.watch(since=0)),
        lambda: bound.blobs.put(b"x"),
        lambda: list(bound.tasks.list()),
    ):
        with pytest.raises(holdfast.Cancelled) as raised:
            work()
        assert raised.value.metadata["sent"] == "no"
    assert store.tasks.count() == 1


def test_a_signal_handler_may_cancel(own_daemon: DaemonProcess) -> None:
    stop = holdfast.Cancellation()
    before = signal.signal(signal.SIGALRM, lambda *_: stop())
    try:
        with holdfast.connect(own_daemon.socket_path) as store:
            own_daemon.kill()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(holdfast.Cancelled):
                store.with_cancellation(stop).tasks.count()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_many_threads_on_one_cancellation(own_daemon: DaemonProcess) -> None:
    ended = []

    def work() -> None:
        try:
            bound.tasks.count()
        except holdfast.Cancelled as error:
            ended.append(error)

    with holdfast.connect(own_daemon.socket_path) as store:
        stop = holdfast.Cancellation()
        bound = store.with_cancellation(stop)
        with suspended(store):
            threads = [threading.Thread(target=work) for _ in range(20)]
            for each in threads:
                each.start()
            time.sleep(0.3)
            stop()
            for each in threads:
                each.join(5)
        assert len(ended) == 20 and stop._running == {}


def test_a_repeated_transaction_applies_once(store: holdfast.Store) -> None:
    made = []
    for _ in range(2):
        with store.transaction(request_id="import-7") as tx:
            made.append(tx.tasks.create(id="T-1", title="once"))
    assert made[0] == made[1] and made[1].version == 1
    with pytest.raises(holdfast.InvalidArgument, match="import-7"), store.transaction(request_id="import-7") as tx:
        tx.tasks.create(id="T-2", title="another")
    assert store.tasks.count() == 1
