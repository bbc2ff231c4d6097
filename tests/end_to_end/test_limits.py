"""Size limits: the largest accepted values can be read by every client, larger ones are refused, and memory stays flat."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import blob_service_pb2, store_service_pb2
from holdfastd.blobs.files import OWNER_FILE
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api, append, entry, insert, put_frames, refused, update
from tests.support.memory import watched

MIB = 2**20
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
MODEST = {"grpc.max_receive_message_length": 4 * MIB}  # gRPC's default, for a client that sets nothing


@pytest.fixture(scope="module")
def api(daemon: Any) -> Iterator[Api]:
    with Api(daemon.socket_path, **MODEST) as made:
        made.commit(insert("session", id="S"))
        yield made


def text(size: int) -> str:
    return "x" * size


@pytest.mark.parametrize(
    ("what", "mutation", "limit"),
    [
        ("record", insert("task", title="t", description=text(2 * MIB)), 2 * MIB),
        ("record", insert("task", title="t", tags=[f"{number:0500d}" for number in range(4200)]), 2 * MIB),
        ("entry", append("S", text(MIB)), MIB),
    ],
    ids=["record", "record of many tags", "entry"],
)
def test_too_large_records_and_entries_are_refused_with_the_limit(api: Api, what: str, mutation: Any, limit: int) -> None:
    before = api.revision()
    refusal = refused(lambda: api.commit(mutation))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "TOO_LARGE")
    assert refusal.metadata["limit"] == str(limit)
    assert what in refusal.message
    assert "blob" in refusal.message
    assert api.revision() == before


def test_a_request_of_17_mib_is_refused_with_the_limit(api: Api) -> None:
    before = api.revision()
    for call in (
        lambda: api.commit(*[insert("task", title="t", description=text(MIB))] * 17),
        lambda: api.append("S", *[text(MIB - 100)] * 17),
        lambda: api.put(text(17 * MIB).encode()),
    ):
        refusal = refused(call)
        assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "TOO_LARGE")
        assert refusal.metadata["limit"] == str(16 * MIB)
    assert api.revision() == before


def test_a_chunk_of_more_than_3_mib_is_refused_with_the_limit(api: Api) -> None:
    content = os.urandom(3 * MIB)
    assert api.put(content, content).size_bytes == 6 * MIB
    refusal = refused(lambda: api.put(b"first", content + b"x"))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "TOO_LARGE")
    assert refusal.metadata == {"limit": str(3 * MIB), "size": str(3 * MIB + 1)}
    assert "3,145,728" in refusal.message


def test_a_message_above_grpcs_limit_is_refused_by_grpc(api: Api) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        api.commit(*[insert("task", title="t", description=text(MIB))] * 40)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "18874368" in caught.value.details()
    assert api.revision() > 0  # the connection still works


def test_all_that_was_accepted_can_be_read_by_every_client(api: Api) -> None:
    """The largest records and entries, read by a client that accepts messages of 4 MiB."""
    largest = text(2 * MIB - 500)
    ids = [api.insert("artifact", name="n", description=largest) for _ in range(4)]
    assert api.get("artifact", ids[0]).description == largest
    found, token = [], ""
    while True:
        page = api.list("artifact", page_size=1000, page_token=token)
        assert page.ByteSize() <= 3 * MIB
        found += [each.id for each in page.records]
        if not (token := page.next_page_token):
            break
    assert found == ids
    keys = [store_service_pb2.RecordKey(kind="artifact", id=id) for id in [*ids, "nobody"]]
    answer = api.store.BatchGet(store_service_pb2.StoreServiceBatchGetRequest(workspace=api.workspace, keys=keys))
    assert [each.id for each in answer.records] == ids[:1]
    assert [each.id for each in [*answer.remaining, *answer.missing]] == [*ids[1:], "nobody"]
    assert [each.id for each in api.changes(kinds=["artifact"], after_revision=0)] == ids


def test_an_answer_with_the_records_leaves_out_what_does_not_fit(api: Api) -> None:
    large = [insert("task", title="t", description=text(2 * MIB - 500)) for _ in range(3)]
    answer = api.commit(*large, return_records=True)
    assert [each.HasField("record") for each in answer.results] == [True, False, False]
    assert all(each.id for each in answer.results)


def test_a_page_that_ends_at_a_very_long_key_is_refused_not_cut_off(api: Api) -> None:
    """The token contains the order's key at the page's end; a long text would make it too large for clients."""
    for number in range(3):
        api.insert("construct", name=f"{number}", description=f"{number}" + text(2 * MIB - 600))
    refusal = refused(lambda: api.list("construct", page_size=1, order_by="description"))
    assert (refusal.code, refusal.reason) == (INVALID_ARGUMENT, "ORDER_BY_INVALID")
    assert "Order by something else" in refusal.message
    names, token = [], ""
    for _ in range(3):
        page = api.list("construct", page_size=1, order_by="name", page_token=token)
        names += [each.construct.name for each in page.records]
        token = page.next_page_token
    assert (names, token) == (["0", "1", "2"], "")


def test_a_thousand_long_ids_fit(api: Api) -> None:
    api.commit(*[insert("link", id=f"{number:0200d}", type="x", **ENDS) for number in range(1000)])
    page = api.list("link", page_size=5000)
    assert len(page.records) == 1000
    keys = [store_service_pb2.RecordKey(kind="link", id=f"{number:0200d}") for number in range(500, 1500)]
    answer = api.store.BatchGet(store_service_pb2.StoreServiceBatchGetRequest(workspace=api.workspace, keys=keys))
    assert (len(answer.records), len(answer.missing)) == (500, 500)


ENDS = {"from_kind": "session", "from_id": "S", "to_kind": "session", "to_id": "S"}


def test_many_small_updates_of_one_record_in_one_commit(api: Api) -> None:
    id = api.insert("task", title="t")
    assert api.commit(*[update("task", id=id, title=f"{n}") for n in range(999)]).results[-1].version == 1000


@pytest.fixture
def process(directory: Directory) -> DaemonProcess:
    return directory.serve()


@pytest.mark.slow
def test_a_transcript_of_100_000_entries_streams_through_flat_memory(process: DaemonProcess) -> None:
    """Reads the transcript from start to end, and follows it with a reader that is slower than the writer."""
    with Api(process.socket, "", **MODEST) as api:
        api.commit(insert("session", id="S"))
        for _ in range(10):
            append_many(api, 10_000)
        drain(api.read("S"))
        with watched(process.process.pid) as peak:
            numbers = [each.number for frame in api.read("S") for each in frame.entries]
            following = api.read("S", follow=True, limit=105_000, timeout_s=60)
            writer = threading.Thread(target=append_many, args=(api, 5_000))
            writer.start()
            followed = sum(len(frame.entries) for frame in following)
            writer.join()
        assert numbers == list(range(1, 100_001))
        assert followed == 105_000
        assert peak.growth_mib < 32, peak


def append_many(api: Api, count: int) -> None:
    entries = [entry("c" * 200, role="response") for _ in range(count)]
    from holdfast.v1 import journal_service_pb2

    request = journal_service_pb2.JournalServiceAppendRequest(parent_kind="session", parent_id="S", entries=entries)
    api.journal.Append(request, timeout=30)


def drain(stream: Any) -> None:
    for _ in stream:
        pass


@pytest.mark.slow
def test_pages_of_the_largest_entries_take_no_more_memory_than_an_answer(process: DaemonProcess) -> None:
    with Api(process.socket, "", **MODEST) as api:
        api.commit(insert("session", id="S"))
        for _ in range(20):
            api.append("S", *[text(MIB - 100)] * 10)
        drain(api.read("S", limit=5))
        with watched(process.process.pid) as peak:
            assert sum(len(frame.entries) for frame in api.read("S")) == 200
            assert sum(len(frame.changes) for frame in api.watch(replay_only=True, after_revision=0)) == 21
        assert peak.growth_mib < 64, peak


@pytest.mark.slow
def test_a_watch_over_large_images_takes_no_more_memory_than_a_frame(process: DaemonProcess) -> None:
    with Api(process.socket, "", **MODEST) as api:
        for number in range(70):
            api.commit(insert("task", id=f"T{number}", title="t", description=text(2 * MIB - 500)))
        keys = [store_service_pb2.RecordKey(kind="task", id=f"T{number}") for number in range(70)]
        with watched(process.process.pid) as peak:
            assert sum(len(frame.changes) for frame in api.watch(replay_only=True, after_revision=0)) == 70
            assert len(api.list("task", page_size=1000).records) == 1
            answer = api.store.BatchGet(store_service_pb2.StoreServiceBatchGetRequest(keys=keys))
            assert (len(answer.records), len(answer.remaining)) == (1, 69)
        assert peak.growth_mib < 128, peak  # BatchGet reads twenty records at a time


def chunks(total_mib: int, digest: Any) -> Iterator[bytes]:
    """Almost incompressible bytes, made from one block."""
    block = os.urandom(MIB)
    for number in range(total_mib):
        chunk = number.to_bytes(8, "big") + block[8:]
        digest.update(chunk)
        yield chunk


def stream_blob(process: DaemonProcess, size_mib: int) -> tuple[float, float]:
    """Puts a blob and gets it back; returns the peak growth of the daemon's and of our memory in MiB."""
    sent, received = hashlib.sha256(), hashlib.sha256()
    with Api(process.socket, "", **MODEST) as api:
        api.put(b"warm" * 100_000)
        with watched(process.process.pid) as theirs, watched(os.getpid()) as ours:
            answer = api.put_stream(chunks(size_mib, sent))
            for frame in api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=answer.digest), timeout=120):
                received.update(frame.chunk)
        assert answer.size_bytes == size_mib * MIB
        assert answer.digest == f"sha256:{sent.hexdigest()}" == f"sha256:{received.hexdigest()}"
    return theirs.growth_mib, ours.growth_mib


def test_a_blob_of_64_mib_streams_through_flat_memory_at_both_ends(process: DaemonProcess) -> None:
    theirs, ours = stream_blob(process, 64)
    assert theirs < 40
    assert ours < 40


@pytest.mark.slow
def test_a_blob_of_384_mib_streams_through_flat_memory_at_both_ends(process: DaemonProcess) -> None:
    theirs, ours = stream_blob(process, 384)
    assert theirs < 60
    assert ours < 60


def files_of(data_dir: Path) -> list[Path]:
    return [each for each in (data_dir / "blobs").rglob("*") if each.is_file() and each.name != OWNER_FILE]


def test_an_upload_that_breaks_off_leaves_nothing(process: DaemonProcess) -> None:
    """Cancels one upload in the middle, and closes the connection of another."""
    over = threading.Event()

    def endless() -> Iterator[Any]:
        yield from put_frames([os.urandom(MIB)] * 3)
        over.wait(30)

    with Api(process.socket, "") as api:
        call = api.blob.Put.future(endless())
        assert eventually(lambda: bool(files_of(process.data_dir)))
        call.cancel()
        assert eventually(lambda: not files_of(process.data_dir))
    cut = Api(process.socket, "")
    call = cut.blob.Put.future(endless())
    assert eventually(lambda: bool(files_of(process.data_dir)))
    cut.channel.close()
    assert eventually(lambda: not files_of(process.data_dir))
    with Api(process.socket, "") as api:
        assert api.problems() == []
        assert "call_failed" not in process.log()
    assert call.code() == grpc.StatusCode.CANCELLED
    over.set()
