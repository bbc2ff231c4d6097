"""Put, Get and Stat: contents are read back, invalid uploads are refused, the order of syncs, and the memory used."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.contract.trim import trim
from holdfastd import failpoints
from holdfastd.blobs.files import BlobFiles, SyncFailed
from holdfastd.blobs.room import Room
from holdfastd.errors import Cancelled, DiskFull, InvalidArgument, NotFound, OutOfRange, Stopping
from holdfastd.model.blobs import PutHeader, digest_of
from holdfastd.model.call import Call
from holdfastd.service.blobs import draft
from tests.unit.blob_rig import HOUR_NS, Rig, rig

NOISE = random.Random(7).randbytes(3_000_000)
TEXT = NOISE[:300_000].hex().encode()  # zstd halves it


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "content", [b"", b"small", b"a" * 5_000_000, TEXT, NOISE], ids=["empty", "small", "zeros", "text", "noise"]
)
def test_what_was_put_is_read(store: Rig, content: bytes) -> None:
    put = store.put(content)
    assert (put.digest, put.size_bytes, put.existed) == (digest_of(content), len(content), False)
    assert store.get(put.digest) == content
    assert all(len(chunk) <= 1024 * 1024 for chunk in store.blobs.read(put.digest, 0, 0, Call()))
    middle = len(content) // 2
    assert store.get(put.digest, middle, 1000) == content[middle : middle + 1000]
    assert store.get(put.digest, len(content)) == b""
    assert store.problems() == []


def test_small_ones_lie_in_the_row_and_large_ones_in_a_file(store: Rig) -> None:
    small, text, noise = (store.blobs.stat(store.put(each).digest, Call()).row for each in (b"tiny", TEXT, NOISE))
    assert (small.path, small.codec) == ("", "raw")
    assert text.codec == "zstd"
    assert text.path.startswith(f"blobs/{text.digest[7:9]}/{text.digest[7:]}-")
    assert text.path.endswith(".zst")
    assert noise.codec == "raw"
    assert (store.data_dir / noise.path).read_bytes() == NOISE
    assert store.stored_files() == sorted([text.path, noise.path])
    assert store.temporary_files() == []


def test_without_inlining_every_blob_has_a_file(tmp_path: Path) -> None:
    with rig(tmp_path, inline_max_bytes=0, delta=False) as store:
        first = store.put(b"x" * 1000)
        second = store.put(b"x" * 1001, base=first.digest)
        store.put(b"")
        assert store.blobs.stat(second.digest, Call()).row.codec == "zstd"
        assert len(store.stored_files()) == 3
        assert store.get(digest_of(b"")) == b""


def test_the_same_content_is_kept_once_and_its_lease_renewed(store: Rig) -> None:
    first = store.put(TEXT)
    store.now_ns += HOUR_NS // 2
    again = store.put(TEXT)
    known = store.put(TEXT, digest=first.digest)
    assert again.existed
    assert known.existed
    assert again.lease_expire_time == first.lease_expire_time + HOUR_NS // 2
    assert len(store.stored_files()) == 1


@pytest.mark.parametrize(
    ("header", "chunks", "reason"),
    [
        (PutHeader(digest=digest_of(b"other")), [b"abc"], "DIGEST_MISMATCH"),
        (PutHeader(size_bytes=4), [b"abc"], "SIZE_MISMATCH"),
        (PutHeader(size_bytes=4), [b"abc", b"de"], "SIZE_MISMATCH"),
        (PutHeader(digest="sha1:abc"), [], "VALUE_INVALID"),
        (PutHeader(digest=digest_of(b"x").upper()), [], "VALUE_INVALID"),
        (PutHeader(base_digest="nonsense"), [], "VALUE_INVALID"),
        (PutHeader(delta=(0, 0)), [], "VALUE_INVALID"),
        (PutHeader(size_bytes=2 * 1024**4), [], "TOO_LARGE"),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_an_upload_that_does_not_match_its_header_is_refused(
    store: Rig, header: PutHeader, chunks: list[bytes], reason: str, known: bool
) -> None:
    if known:
        store.put(b"other")
    files = store.stored_files()
    with pytest.raises(InvalidArgument) as refused:
        store.send(header, chunks)
    assert refused.value.reason == reason
    assert (store.stored_files(), store.temporary_files()) == (files, [])


def test_the_limit_holds_for_streams_of_unknown_size(tmp_path: Path) -> None:
    with rig(tmp_path, max_blob_bytes=2_000_000) as store, pytest.raises(InvalidArgument) as refused:
        store.send(PutHeader(), [NOISE[:1_500_000], NOISE[:1_500_000]])
    assert (refused.value.reason, refused.value.metadata["limit"]) == ("TOO_LARGE", "2000000")


def test_an_aborted_upload_leaves_nothing(store: Rig) -> None:
    upload = store.blobs.begin(PutHeader(), Call())
    upload.feed(NOISE)
    assert len(store.temporary_files()) == 1
    upload.abort()
    assert store.temporary_files() == []


def test_reads_out_of_range_and_of_nothing(store: Rig) -> None:
    digest = store.put(b"0123456789").digest
    assert store.get(digest, 4, 100) == b"456789"
    with pytest.raises(OutOfRange):
        store.get(digest, 11)
    with pytest.raises(InvalidArgument):
        store.get(digest, -1)
    with pytest.raises(NotFound):
        store.get(digest_of(b"unknown"))
    with pytest.raises(NotFound):
        store.blobs.stat(digest_of(b"unknown"), Call())


def test_a_read_stops_when_its_caller_has_gone(store: Rig) -> None:
    digest = store.put(NOISE).digest
    call = Call()
    chunks = iter(store.blobs.read(digest, 0, 0, call))
    next(chunks)
    call.end()
    with pytest.raises(Cancelled):
        next(chunks)


def test_a_stream_that_is_never_started_leaves_no_file_open(store: Rig) -> None:
    digest = store.put(NOISE).digest
    store.blobs.read(digest, 0, 0, Call())
    gc.collect()
    left = [
        os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")
    ]
    assert not any(digest.removeprefix("sha256:") in path for path in left)


def delta_of(base: bytes, content: bytes) -> tuple[PutHeader, bytes]:
    prefix, suffix = trim(base, content)
    header = PutHeader(digest_of(content), len(content), digest_of(base), (prefix, suffix))
    return header, content[prefix : len(content) - suffix]


def test_the_client_sends_only_the_middle(store: Rig) -> None:
    content = TEXT[:-1] + b"a new message]"
    store.put(TEXT)
    header, middle = delta_of(TEXT, content)
    put = store.send(header, [middle])
    row = store.blobs.stat(put.digest, Call()).row
    assert (row.codec, row.base_digest, row.depth, row.step, row.path) == ("delta", digest_of(TEXT), 1, 1, "")
    assert row.stored_bytes < 200
    store.restarted()
    assert store.get(put.digest) == content
    assert store.get(put.digest, 599_990, 5) == content[599_990:599_995]
    assert store.send(header, [middle]).existed


@pytest.mark.parametrize("deltas", [1, 15], ids=["on the base itself", "on the upper level"])
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "read"])
def test_a_delta_takes_one_snapshot_and_one_draft(store: Rig, deltas: int, cached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [TEXT + b"." * number for number in range(deltas + 2)]
    before = store.put(TEXT)
    for base, content in itertools.pairwise(contents[:-1]):
        before = store.put(content, base=digest_of(base))
    if not cached:
        store.restarted()
    made: list[str] = []
    snapshot, spool = store.readers.snapshot, draft.Spool
    monkeypatch.setattr(store.readers, "snapshot", lambda call: made.append("snapshot") or snapshot(call))
    monkeypatch.setattr(draft, "Spool", lambda *given: made.append("draft") or spool(*given))
    header, middle = delta_of(contents[-2], contents[-1])
    assert header.base_digest == before.digest
    put = store.send(header, [middle])
    assert made == ["snapshot", "draft"]
    row = store.blobs.stat(put.digest, Call()).row
    assert (row.base_digest, row.step) == ((before.digest, 2) if deltas == 1 else (digest_of(TEXT), 0))


def test_an_unknown_base_asks_for_the_whole(store: Rig) -> None:
    header, middle = delta_of(TEXT, TEXT + b"more")
    with pytest.raises(NotFound) as refused:
        store.send(header, [middle])
    assert refused.value.reason == "BASE_NOT_FOUND"


def test_a_base_that_is_only_a_hint_may_be_unknown(store: Rig) -> None:
    put = store.put(TEXT + b"more", base=digest_of(TEXT))
    assert store.blobs.stat(put.digest, Call()).row.codec == "zstd"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: replace(header, delta=(len(TEXT), 1)), "VALUE_INVALID"),
        (lambda header: replace(header, delta=(-1, 0)), "VALUE_INVALID"),
        (lambda header: replace(header, size_bytes=10), "SIZE_MISMATCH"),
        (lambda header: replace(header, size_bytes=None), "VALUE_INVALID"),
        (lambda header: replace(header, digest=""), "VALUE_INVALID"),
        (lambda header: replace(header, size_bytes=len(TEXT) + 5), "SIZE_MISMATCH"),
        (lambda header: replace(header, size_bytes=len(TEXT) + 3), "SIZE_MISMATCH"),
        (lambda header: replace(header, digest=digest_of(b"")), "DIGEST_MISMATCH"),
    ],
)
def test_an_invalid_delta_is_refused(store: Rig, change: Callable[[PutHeader], PutHeader], reason: str) -> None:
    store.put(TEXT)
    header, middle = delta_of(TEXT, TEXT + b"more")
    with pytest.raises(InvalidArgument) as refused:
        store.send(change(header), [middle])
    assert refused.value.reason == reason


def test_a_delta_that_does_not_pay_becomes_a_full_copy(store: Rig) -> None:
    base = store.put(NOISE[:1_000_000])
    other = store.put(NOISE[1_000_000:2_000_000], base=base.digest)
    row = store.blobs.stat(other.digest, Call()).row
    assert (row.codec, row.depth, row.base_digest) == ("raw", 0, None)


def test_what_is_too_large_for_a_delta_is_streamed(tmp_path: Path) -> None:
    with rig(tmp_path, delta_max_bytes=1_000_000) as store:
        small, large = store.put(NOISE[:900_000]), store.put(NOISE[:1_100_000])
        grown = store.put(NOISE[:1_200_000], base=small.digest)
        assert store.blobs.stat(grown.digest, Call()).row.codec == "raw"
        header, middle = delta_of(NOISE[:1_100_000], NOISE[:1_100_001])
        assert header.base_digest == large.digest
        with pytest.raises(NotFound):
            store.send(header, [middle])


def test_a_chain_of_600_steps_stays_under_depth_33(store: Rig) -> None:
    rows, before = [], b""
    for number in range(600):
        context = before + b"message %d of a session, with something to say\n" % number
        header, middle = delta_of(before, context)
        # alternately as the client does (delta) and as a caller that only hints at a base
        put = store.send(header, [middle]) if number % 2 else store.put(context, base=digest_of(before))
        rows.append(store.blobs.stat(put.digest, Call()).row)
        before = context
    assert max(row.depth for row in rows) == 32
    full_copies = [number for number, row in enumerate(rows) if row.codec != "delta"]
    assert full_copies[-1] - full_copies[-2] == 18 * 16 + 15  # full copies no more often than the depth limit requires
    store.restarted()
    assert store.get(rows[-1].digest) == before
    assert store.problems() == []


def test_bytes_are_synced_before_they_are_named(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_fsync, real_rename, real_submit = os.fsync, os.rename, store.writer.submit

    def fsync(descriptor: int) -> None:
        steps.append("fsync " + os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(f"{store.data_dir}/"))
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        steps.append("rename")
        real_rename(source, target)

    def submit(command: object, call: Call) -> object:
        steps.append("commit")
        return real_submit(command, call)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(store.writer, "submit", submit)
    put = store.put(TEXT)
    row = store.blobs.stat(put.digest, Call()).row
    upload_id = row.path.rsplit("-", 1)[1].removesuffix(".zst")
    directory = row.path.rsplit("/", 1)[0]
    assert steps == [f"fsync blobs/tmp/{upload_id}", "fsync blobs", "rename", f"fsync {directory}", "commit"]


def test_the_directories_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    BlobFiles(tmp_path, on_sync_failure=refuse)
    assert synced == [str(tmp_path), str(tmp_path / "blobs")]


def test_directories_of_a_killed_process_are_synced_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    files = BlobFiles(tmp_path, on_sync_failure=refuse)
    assert synced == [str(tmp_path), str(tmp_path / "blobs")]
    write_file(files, "ab" * 32)
    assert synced[2:] == []  # `rename` needs no further sync of `blobs`
    write_file(files, "cd" * 32)
    assert synced[2:] == [str(tmp_path / "blobs")]


def test_a_directory_that_was_removed_is_made_and_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = BlobFiles(tmp_path, on_sync_failure=refuse)
    (tmp_path / write_file(files, "ab" * 32)).unlink()
    (tmp_path / "blobs" / "ab").rmdir()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    write_file(files, "ab" * 32)
    assert synced == [str(tmp_path / "blobs")]


def test_a_put_waits_for_another_threads_sync_of_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = BlobFiles(tmp_path, on_sync_failure=refuse)
    syncing, go_on, renamed = threading.Event(), threading.Event(), []

    def slow(descriptor: int) -> None:
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(os, "fsync", slow)
    threads = [threading.Thread(target=lambda: renamed.append(write_file(files, "ab" * 32))) for _ in range(2)]
    threads[0].start()
    assert syncing.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert (tmp_path / "blobs" / "ab").is_dir()
    assert renamed == []
    go_on.set()
    for each in threads:
        each.join()
    assert len(renamed) == 2


def write_file(files: BlobFiles, hex_digest: str) -> str:
    """Publishes a file and returns its path; the caller of `rename` syncs its directory."""
    draft = files.create()
    draft.write(b"x")
    path = draft.rename(f"sha256:{hex_digest}", "raw")
    draft.settle()
    return path


def refuse(error: BaseException) -> None:
    raise AssertionError("a sync failed") from error


def test_a_failed_sync_is_reported_and_nothing_is_acknowledged(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SyncFailed):
        store.put(TEXT)
    assert [error.args[0] for error in store.sync_failures] == [errno.EIO]
    assert store.blobs.totals(Call()).count == 0


def test_a_full_disk_refuses_the_put_and_leaves_nothing(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.put(TEXT).digest

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(DiskFull, match="has no room for the blob"):
        store.put(NOISE)
    assert store.temporary_files() == []
    assert store.get(kept) == TEXT


def test_an_upload_without_room_is_told_how_much_must_be_free() -> None:
    room = Room(lambda: 10 * 1024)
    more = pytest.raises(DiskFull, match="2 KiB more must be free, as some is kept for deletes")
    with room.take(4 * 1024), more, room.take(8 * 1024):
        pass
    with room.take(10 * 1024):
        pass


def test_a_put_whose_commit_is_refused_leaves_a_file_that_the_sweep_removes(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(command: object, call: Call) -> object:
        raise Stopping("The daemon is stopping.")

    with monkeypatch.context() as patch:
        patch.setattr(store.writer, "submit", stop)
        with pytest.raises(Stopping):
            store.put(TEXT)
    assert store.blob_sweep.needs_recovery
    assert len(store.stored_files()) == 1
    store.sweep()
    assert store.stored_files() == []
    assert not store.blob_sweep.needs_recovery


def test_a_put_whose_commit_was_applied_though_it_raised_keeps_its_file(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.writer.submit

    def lose_the_answer(command: object, call: Call) -> object:
        real(command, call)
        raise Stopping("The daemon is stopping.")

    with monkeypatch.context() as patch:
        patch.setattr(store.writer, "submit", lose_the_answer)
        with pytest.raises(Stopping):
            store.put(TEXT)
    store.sweep()
    assert store.get(digest_of(TEXT)) == TEXT


def test_memory_is_flat_for_a_large_stream(store: Rig) -> None:
    def chunks() -> Iterator[bytes]:
        for number in range(200):
            yield NOISE[: 1 << 20] if number % 2 else TEXT[:1] * (1 << 20)

    tracemalloc.start()
    try:
        put = store.send(PutHeader(), chunks())
        _, written_peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        size = sum(len(chunk) for chunk in store.blobs.read(put.digest, 0, 0, Call()))
        _, read_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == put.size_bytes == 200 << 20
    assert written_peak < 16 << 20
    assert read_peak < 16 << 20


def test_the_steps_have_failpoints(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[str] = []
    monkeypatch.setattr(failpoints, "hit", hits.append)
    store.put(TEXT)
    assert [hit for hit in hits if hit.startswith("blobs.")] == [
        "blobs.created",
        "blobs.before_sync",
        "blobs.after_sync",
        "blobs.after_rename",
        "blobs.after_directory_sync",
        "blobs.after_commit",
    ]
