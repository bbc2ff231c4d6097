"""The client during kills and restarts of a real daemon: no acknowledged write is lost, and none is applied twice."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast
from holdfast.blobs.sources import Source
from holdfast.v1 import blob_service_pb2

pytestmark = pytest.mark.slow  # processes of its own


def eventually(condition: Callable[[], bool], patience_s: float = 15.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Background:
    """A thread; `join` raises its error in the test."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error


def test_the_writer_loses_and_doubles_nothing_over_kills(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        session_id = store.sessions.create(title="s").id
        goal = threading.Event()
        count = 0
        with store.transcripts.writer(session_id) as writer:

            def write() -> None:
                nonlocal count
                while not goal.is_set():
                    writer.write(role="response", content=str(count))
                    count += 1
                    if count % 100 == 0:
                        time.sleep(0.005)  # so that the duration of the test does not depend on the machine's speed

            background = Background(write)
            for _ in range(2):
                target = writer.acknowledged + 3000
                assert eventually(lambda target=target: writer.acknowledged > target)  # type: ignore[misc]
                own_daemon.kill()
                own_daemon.start()
            goal.set()
            background.join()
        assert writer.acknowledged == count > 6000
        assert [each.transcript.content for each in store.transcripts.read(session_id)] == [str(n) for n in range(count)]


def test_unary_writes_in_threads_apply_once_over_a_kill(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        store.tasks.create(title="first")
        made: list[str] = []
        over = threading.Event()

        def create() -> None:
            while not over.is_set():
                made.append(store.tasks.create(title="t").id)

        threads = [Background(create) for _ in range(4)]
        for end in (own_daemon.kill, own_daemon.stop):
            target = len(made) + 100
            assert eventually(lambda target=target: len(made) > target)  # type: ignore[misc]
            end()
            own_daemon.start()
        target = len(made) + 100
        assert eventually(lambda: len(made) > target)
        over.set()
        for thread in threads:
            thread.join()
        there = [each.id for each in store.tasks.list(filter='title = "t"', page_size=1000)]
        assert sorted(there) == sorted(made)


def test_streams_go_on_where_they_stood(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path) as store:
        session_id = store.sessions.create(title="s").id
        followed: list[int] = []
        watched: list[str] = []
        reader, watch = store.transcripts.follow(session_id), store.watch(kinds=["task"])
        threads = [
            Background(lambda: followed.extend(each.number for each in reader)),
            Background(lambda: watched.extend(each.record.task.title for each in watch)),
        ]
        for number in range(60):
            if number in (20, 40):
                own_daemon.kill()
                own_daemon.start()
            store.transcripts.append(session_id, role="a")
            store.tasks.create(title=str(number))
        assert eventually(lambda: len(followed) >= 60 and len(watched) >= 60)
        reader.close()
        watch.close()
        for thread in threads:
            thread.join()
        assert followed == list(range(1, 61))
        assert watched == [str(number) for number in range(60)]


def test_reading_a_blob_and_a_transcript_over_a_kill(own_daemon: Any) -> None:
    data = os.urandom(30_000_000)
    with holdfast.connect(own_daemon.socket_path) as store:
        digest = store.blobs.put(data).digest
        session_id = store.sessions.create(title="s").id
        with store.transcripts.writer(session_id) as writer:
            for _ in range(60_000):
                writer.write(role="a", content="x" * 200)
        reader = iter(store.transcripts.read(session_id))
        numbers = [next(reader).number for _ in range(5)]
        with store.blobs.open(digest) as file:
            start = file.read(1000)
            own_daemon.kill()
            own_daemon.start()
            assert start + file.read() == data
        assert numbers + [each.number for each in reader] == list(range(1, 60_001))


def test_putting_a_blob_over_a_kill(own_daemon: Any, tmp_path: Any) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(40_000_000))
    with holdfast.connect(own_daemon.socket_path) as store:
        store.tasks.create(title="t")
        puts: list[Any] = []
        background = Background(lambda: puts.append(store.blobs.put(path)))
        time.sleep(0.1)
        own_daemon.kill()
        own_daemon.start()
        background.join()
        assert store.blobs.get(puts[0].digest) == path.read_bytes()


def test_a_blob_that_is_lost_during_its_put_is_sent_again(own_daemon: Any) -> None:
    data, passes = os.urandom(300_000), []
    with holdfast.connect(own_daemon.socket_path) as store:
        before = store.blobs.stat(store.blobs.put(data).digest)

        def chunks() -> Iterator[bytes]:
            passes.append(1)
            if len(passes) == 1:
                while store.blobs.stat(before.digest).lease_expire_time == before.lease_expire_time:
                    time.sleep(0.01)  # until the daemon has found the blob stored
                (own_daemon.data_dir / before.path).unlink()
            yield data

        header = blob_service_pb2.BlobPutHeader(digest=before.digest, size_bytes=len(data))
        assert not store.blobs.upload(header, Source(chunks, len(data), repeatable=True)).existed
        assert (len(passes), store.blobs.get(before.digest)) == (2, data)


def test_without_a_daemon(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path, timeout_s=0.3) as store:
        watch = store.watch()
        own_daemon.stop()
        for call in (lambda: store.tasks.create(title="t"), lambda: next(watch), lambda: store.blobs.put(b"x")):
            began = time.monotonic()
            with pytest.raises(holdfast.Unavailable):
                call()
            assert time.monotonic() - began < 2
    began = time.monotonic()
    with pytest.raises(holdfast.Unavailable, match=r"No daemon answers at .*holdfast\.sock"):
        holdfast.connect(own_daemon.socket_path, connect_timeout_s=0.2)
    assert time.monotonic() - began < 2


def test_the_timeout_of_a_single_call(own_daemon: Any) -> None:
    with holdfast.connect(own_daemon.socket_path, timeout_s=30) as store:
        session_id = store.sessions.create(title="s").id
        impatient = store.with_timeout(0.3)
        assert (impatient.workspace, impatient.actor) == (store.workspace, store.actor)
        watch = impatient.watch()
        own_daemon.stop()
        patient = Background(lambda: store.sessions.update(session_id, title="waited"))
        calls = (lambda: impatient.tasks.create(title="t"), lambda: next(watch), lambda: impatient.blobs.put(b"x"))
        for call in (*calls, lambda: impatient.transcripts.append(session_id, role="a"), impatient.status):
            began = time.monotonic()
            with pytest.raises(holdfast.Unavailable):
                call()
            assert time.monotonic() - began < 2
        own_daemon.start()
        patient.join()
        assert impatient.sessions.get(session_id).title == "waited"
        assert [each.action for each in store.audit.query()] == ["insert", "update"], "calls that timed out must not be applied"
        assert impatient.revision == store.revision == store.status().revision
    with pytest.raises(holdfast.Closed):
        impatient.status()


def test_closing_the_store_ends_what_runs(own_daemon: Any) -> None:
    store = holdfast.connect(f"unix:{own_daemon.socket_path}")
    session_id = store.sessions.create(title="s").id
    reader = store.transcripts.follow(session_id)
    errors: list[BaseException] = []

    def follow() -> None:
        try:
            next(reader)
        except holdfast.HoldfastError as error:
            errors.append(error)

    background = Background(follow)
    time.sleep(0.2)
    store.close()
    background.join()
    assert [type(error) for error in errors] == [holdfast.Closed]
