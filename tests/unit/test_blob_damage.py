"""Damage affects exactly the blobs whose lineage contains it. The error names the digest, and verify reports it."""

from __future__ import annotations

import errno
import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.contract.trim import trim
from holdfastd.blobs.delta import _HEADER
from holdfastd.errors import DataLoss, Exhausted, FailedPrecondition, NotFound
from holdfastd.model.blobs import PutHeader, digest_of
from holdfastd.model.call import Call
from tests.unit.blob_rig import HOUR_NS, Rig, rig

TEXT = random.Random(5).randbytes(900_000).hex().encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path, inline_max_bytes=0) as made:
        yield made


def damage(store: Rig, digest: str, how: Callable[[bytes], bytes]) -> None:
    path = store.data_dir / store.blobs.stat(digest, Call()).row.path
    path.write_bytes(how(path.read_bytes()))


def flip_in_the_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "flipped": flip_in_the_middle,
    "truncated": lambda data: data[:-1],
    "lengthened": lambda data: data + b"!",
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("how", list(DAMAGES))
@pytest.mark.parametrize("content", [TEXT, random.Random(6).randbytes(2_500_000)], ids=["zstd", "raw"])
def test_a_damaged_file_is_data_loss_with_the_digest_named(store: Rig, content: bytes, how: str) -> None:
    digest = store.put(content).digest
    damage(store, digest, DAMAGES[how])
    read: list[bytes] = []
    with pytest.raises(DataLoss) as lost:
        read.extend(store.blobs.read(digest, 0, 0, Call()))
    assert (lost.value.reason, lost.value.metadata["digest"]) == ("BLOB_DAMAGED", digest)
    assert digest in lost.value.message
    assert sum(map(len, read)) < len(content)  # never all of it, so a reader that counts the bytes notices as well
    assert [subject for _, subject in store.problems(read_blobs=False)] == [digest]


def test_a_range_of_a_damaged_frame_is_data_loss_and_the_others_can_be_read(store: Rig) -> None:
    digest = store.put(TEXT).digest
    damage(store, digest, lambda data: data[:100] + b"\0\0\0\0" + data[104:])
    assert store.get(digest, 1_500_000, 1000) == TEXT[1_500_000:1_501_000]
    with pytest.raises(DataLoss):
        store.get(digest, 0, 1000)


RAW = random.Random(6).randbytes(2_500_000)
RANGES = [(0, 1), (1, 300_000), (262_143, 2), (262_144, 262_144), (700_000, 1_700_000), (2_400_000, 0), (2_499_999, 1)]


def flip_byte(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


@pytest.mark.parametrize("known", [True, False], ids=["with checksums", "as an earlier version stored it"])
def test_a_range_of_a_raw_file_is_checked(store: Rig, known: bool) -> None:
    digest = store.put(RAW).digest
    if not known:
        store.connection.execute("DELETE FROM blob_checksum")
    for offset, length in RANGES:
        assert store.get(digest, offset, length) == RAW[offset : offset + length if length else None]
    damage(store, digest, flip_byte(800_000))
    for offset, length in RANGES:
        touched = offset // 262_144 <= 3 and (offset + (length or 2_500_000) - 1) // 262_144 >= 3
        if touched or not known:
            with pytest.raises(DataLoss, match=digest):
                store.get(digest, offset, length)
        else:
            assert store.get(digest, offset, length) == RAW[offset : offset + length if length else None]


def test_a_damaged_checksum_of_a_block_is_no_reason_to_send_it(store: Rig) -> None:
    digest = store.put(RAW).digest
    store.connection.execute("UPDATE blob_checksum SET checksums = ?", (b"\0" * 40,))
    with pytest.raises(DataLoss, match="checksums have changed"):
        store.get(digest, 5, 5)
    assert [subject for _, subject in store.problems(read_blobs=True)] == [digest]
    store.connection.execute("UPDATE blob_checksum SET checksums = ?", (b"",))
    with pytest.raises(DataLoss, match="checksums have changed"):
        store.get(digest, 5, 5)


def test_a_range_of_a_raw_row_is_checked(tmp_path: Path) -> None:
    with rig(tmp_path, inline_max_bytes=4096) as store:
        digest = store.put(RAW[:3000]).digest
        assert store.get(digest, 1000, 10) == RAW[1000:1010]
        store.connection.execute("UPDATE blob_inline SET content = ?", (flip_byte(2000)(RAW[:3000]),))
        with pytest.raises(DataLoss, match=digest):
            store.get(digest, 1000, 10)


def test_the_checksums_go_with_the_blob(store: Rig) -> None:
    store.put(RAW)
    ((checksums,),) = store.connection.execute("SELECT checksums FROM blob_checksum").fetchall()
    assert checksums[:4] == zlib.crc32(RAW[: 256 * 1024]).to_bytes(4, "little") and len(checksums) == 10 * 4
    store.now_ns += 2 * HOUR_NS
    assert store.sweep()["blobs_deleted"] == 1
    assert store.connection.execute("SELECT count(*) FROM blob_checksum").fetchone() == (0,)


@pytest.mark.parametrize(
    "damage", ["size_bytes = 5", "path = path || 'x'", "lease_expire_time = 7", "create_time = 7", "step = 3"]
)
def test_a_damaged_row_is_data_loss(store: Rig, damage: str) -> None:
    digest = store.put(TEXT).digest
    store.put(TEXT)  # renews the lease
    assert store.problems(read_blobs=True) == []
    store.connection.execute(f"UPDATE blob SET {damage}")
    with pytest.raises(DataLoss, match="row"):
        store.get(digest)
    with pytest.raises(DataLoss, match="row"):
        store.blobs.stat(digest, Call())
    assert ("blob_row_damaged", digest) in store.problems(read_blobs=False)
    store.now_ns += HOUR_NS // 2
    store.put(TEXT)  # gives the row its stored bytes again
    assert store.get(digest) == TEXT
    assert {reason for reason, _ in store.problems()} <= {"blob_orphan"}  # its old file, if the damaged row did not name it


def chain_of(store: Rig, first: bytes, length: int) -> list[str]:
    digests = [store.put(first).digest]
    for number in range(1, length):
        first += b"step %d" % number
        digests.append(store.put(first, base=digests[-1]).digest)
    return digests


@pytest.mark.parametrize("culprit", [0, 3, 15, 18])
def test_exactly_the_blobs_whose_chain_holds_the_damage_suffer(store: Rig, culprit: int) -> None:
    digests = chain_of(store, TEXT, 20)  # 16 has base 0: the second level
    other = store.put(b"another" * 10_000).digest
    store.restarted()
    damage(store, digests[culprit], flip_in_the_middle)
    told = {digest: lost.metadata for digest in digests if (lost := loss_of(store, digest))}
    bases = {digest: store.blobs.stat(digest, Call()).row.base_digest for digest in digests}
    holds = {digest for digest in digests if digests[culprit] in _chain(digest, bases)}
    assert told == {digest: {"digest": digest, "damaged_digest": digests[culprit]} for digest in holds}
    assert len(holds) == {0: 20, 3: 13, 15: 1, 18: 2}[culprit]
    assert store.get(other) == b"another" * 10_000
    assert ("blob_damaged", digests[culprit]) in store.problems(read_blobs=False)
    assert {subject for _, subject in store.problems()} == holds


def loss_of(store: Rig, digest: str) -> DataLoss | None:
    try:
        store.get(digest)
    except DataLoss as lost:
        return lost
    return None


def _chain(digest: str, bases: dict[str, str | None]) -> list[str]:
    chain = [digest]
    while (base := bases[chain[-1]]) is not None:
        chain.append(base)
    return chain


def test_a_missing_link_is_named(store: Rig) -> None:
    digests = chain_of(store, TEXT, 3)
    store.restarted()
    (store.data_dir / store.blobs.stat(digests[1], Call()).row.path).unlink()
    assert store.get(digests[0]) == TEXT
    with pytest.raises(DataLoss) as lost:
        store.get(digests[2])
    assert lost.value.metadata == {"digest": digests[2], "damaged_digest": digests[1]}
    assert ("blob_missing", digests[1]) in store.problems(read_blobs=False)


def test_a_delta_that_decodes_to_other_bytes_is_named(store: Rig) -> None:
    def shift_the_cut(payload: bytes) -> bytes:
        version, prefix, suffix, start, end = _HEADER.unpack_from(payload)
        return _HEADER.pack(version, prefix - 1, suffix + 1, start, end) + payload[_HEADER.size :]

    digests = chain_of(store, TEXT, 3)
    store.restarted()
    damage(store, digests[1], shift_the_cut)
    lost = loss_of(store, digests[2])
    assert lost is not None
    assert lost.metadata == {"digest": digests[2], "damaged_digest": digests[1]}


def test_a_damaged_base_asks_the_client_for_the_whole(store: Rig) -> None:
    digest = store.put(TEXT).digest
    damage(store, digest, flip_in_the_middle)
    content = TEXT + b"more"
    with pytest.raises(NotFound) as refused:
        store.send(PutHeader(digest_of(content), len(content), digest, trim(TEXT, content)), [b"more"])
    assert refused.value.reason == "BASE_NOT_FOUND"
    put = store.put(content, base=digest)
    assert store.get(put.digest) == content


def test_a_disk_that_cannot_read_is_data_loss(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(TEXT).digest

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "unreadable sector")

    monkeypatch.setattr(os, "pread", fail)
    lost = loss_of(store, digest)
    assert lost is not None
    assert lost.metadata["damaged_digest"] == digest
    assert store.problems(read_blobs=False) == [("blob_damaged", digest)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_lack_of_descriptors_is_no_damage(store: Rig, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    digests = chain_of(store, TEXT, 3)
    store.restarted()  # empties the cache

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        for act in (lambda: store.get(digests[0]), lambda: store.get(digests[2]), store.problems):
            with pytest.raises(Exhausted) as caught:
                act()
            assert caught.value.reason == "TOO_MANY_FILES"
    assert store.problems() == []


@pytest.mark.parametrize("function", ["open", "stat"])
def test_a_file_that_the_daemon_may_not_read_is_no_damage(store: Rig, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    digest = store.put(TEXT).digest

    def fail(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        for act in (store.problems, *([lambda: store.get(digest)] if function == "open" else [])):
            with pytest.raises(FailedPrecondition) as caught:
                act()
            assert caught.value.reason == "FILE_NOT_READABLE"
    assert store.problems() == []


def test_verify_finds_what_is_wrong_with_rows(tmp_path: Path) -> None:
    with rig(tmp_path) as store:
        inline, kept, dangling = (store.put(each).digest for each in (b"inline", b"kept", b"dangling"))
        unswept = store.put(b"unswept").digest
        store.refer(kept, "A")
        assert store.problems() == []
        store.connection.execute("PRAGMA foreign_keys = OFF")
        store.connection.execute("DELETE FROM blob_inline WHERE digest = ?", (inline,))
        store.connection.execute("DELETE FROM blob_candidate WHERE digest = ?", (unswept,))
        store.refer(dangling, "B")
        store.connection.execute("DELETE FROM blob WHERE digest = ?", (dangling,))
        assert sorted(store.problems()) == [
            ("blob_inline_missing", inline),
            ("blob_unswept", unswept),
            ("reference_dangling", "artifact/B"),
        ]


def test_a_stored_delta_of_the_wrong_size_is_damage(store: Rig) -> None:
    digests = chain_of(store, TEXT, 2)
    store.connection.execute("UPDATE blob SET size_bytes = size_bytes - 1 WHERE digest = ?", (digests[1],))
    store.restarted()
    with pytest.raises(DataLoss):
        store.get(digests[1])
