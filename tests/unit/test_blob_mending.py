"""A Put of a blob whose stored bytes are lost or damaged stores them again, whatever kind of Put it is."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.contract.trim import trim
from holdfastd.errors import DataLoss, Exhausted, NotFound
from holdfastd.model.blobs import PutHeader, digest_of
from holdfastd.model.call import Call
from tests.unit.blob_rig import HOUR_NS, Rig, rig

TEXT = random.Random(5).randbytes(200_000).hex().encode()
BASE = b"another beginning" + TEXT[1000:]
SMALL = b"a few bytes that are kept in the database"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def file_of(store: Rig, digest: str) -> Path:
    return store.data_dir / store.blobs.stat(digest, Call()).row.path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_and_read(store: Rig, digest: str) -> None:
    flip(file_of(store, digest))
    with pytest.raises(DataLoss):
        store.get(digest)


def flip_and_verify(store: Rig, digest: str) -> None:
    flip(file_of(store, digest))
    assert ("blob_damaged", digest) in store.problems()


DAMAGES: dict[str, Callable[[Rig, str], object]] = {
    "missing": lambda store, digest: file_of(store, digest).unlink(),
    "short": lambda store, digest: os.truncate(file_of(store, digest), 1000),
    "empty": lambda store, digest: os.truncate(file_of(store, digest), 0),
    "found by a read": flip_and_read,
    "found by verify": flip_and_verify,
}


def put_delta(store: Rig, content: bytes) -> bool:
    base = store.put(BASE)
    prefix, suffix = cut = trim(BASE, content)
    header = PutHeader(digest_of(content), len(content), base.digest, cut)
    return store.send(header, [content[prefix : len(content) - suffix]]).existed


PUTS: dict[str, Callable[[Rig, bytes], bool]] = {
    "streamed": lambda store, content: store.put(content).existed,
    "announced": lambda store, content: store.put(content, digest=digest_of(content)).existed,
    "with a base": lambda store, content: store.put(content, base=store.put(BASE).digest).existed,
    "as a delta": put_delta,
}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_put_replaces_bytes_that_cannot_be_read(tmp_path: Path, damage: str, put: str) -> None:
    with rig(tmp_path, cache_bytes=0) as store:
        digest = store.put(TEXT).digest
        old = file_of(store, digest)
        DAMAGES[damage](store, digest)
        assert PUTS[put](store, TEXT) is False
        assert store.get(digest) == TEXT
        assert file_of(store, digest) != old
        assert PUTS[put](store, TEXT) is True
        store.restarted()
        assert store.get(digest) == TEXT
        assert store.problems() == []
        store.sweep()
        assert not old.exists()
        assert store.recover()["orphan_files"] == 0


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize(
    "change", ["DELETE FROM blob_inline WHERE digest = ?", "UPDATE blob_inline SET content = x'00' WHERE digest = ?"]
)
def test_a_put_replaces_lost_bytes_in_the_database(store: Rig, change: str, put: str) -> None:
    digest = store.put(SMALL).digest
    store.connection.execute(change, (digest,))
    assert PUTS[put](store, SMALL) is False
    store.restarted()
    assert store.get(digest) == SMALL
    assert store.problems() == []


def test_bytes_move_from_the_database_to_a_file_when_the_limit_was_lowered(tmp_path: Path) -> None:
    with rig(tmp_path) as store:
        digest = store.put(SMALL).digest
        store.connection.execute("DELETE FROM blob_inline")
    with rig(tmp_path, inline_max_bytes=0) as store:
        assert not store.put(SMALL).existed
        assert file_of(store, digest).exists()
        assert store.get(digest) == SMALL
        assert store.problems() == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_bytes_that_are_lost_during_a_put_that_found_them_are_asked_for_again(tmp_path: Path, damage: str) -> None:
    with rig(tmp_path, cache_bytes=0) as store:
        digest = store.put(TEXT).digest

        def chunks() -> Iterator[bytes]:
            DAMAGES[damage](store, digest)
            yield TEXT

        with pytest.raises(Exhausted, match="Send the content again") as refused:
            store.send(PutHeader(digest, len(TEXT)), chunks())
        assert (refused.value.reason, refused.value.retry_delay_s > 0) == ("BLOB_LOST", True)
        assert not store.put(TEXT, digest=digest).existed
        assert store.get(digest) == TEXT
        assert store.problems() == []


def test_the_new_copy_is_durable_before_the_row_names_it(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(TEXT).digest
    file_of(store, digest).unlink()
    steps: list[str] = []
    real_fsync, real_rename, real_submit = os.fsync, os.rename, store.writer.submit

    def noted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            steps.append(name)
            return real(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noted("sync", real_fsync))
    monkeypatch.setattr(os, "rename", noted("rename", real_rename))
    monkeypatch.setattr(store.writer, "submit", noted("commit", real_submit))
    store.put(TEXT)
    assert steps == ["sync", "rename", "sync", "commit", "commit"]  # the first commit finds the row, the second replaces its path


def test_references_leases_and_deltas_outlive_the_replacement(store: Rig) -> None:
    base = store.put(TEXT)
    deltas = [store.put(TEXT + b"%d" % number, base=base.digest).digest for number in range(3)]
    store.refer(deltas[0], "A")
    file_of(store, base.digest).unlink()
    store.restarted()
    for digest in deltas:
        with pytest.raises(DataLoss):
            store.get(digest)
    assert not store.put(TEXT).existed
    assert [store.get(digest) for digest in deltas] == [TEXT + b"%d" % number for number in range(3)]
    store.now_ns += 2 * HOUR_NS
    assert store.sweep()["blobs_deleted"] == 2
    assert store.get(deltas[0]) == TEXT + b"0"
    assert store.problems() == []


def test_a_delta_on_a_lost_base_is_stored_whole(store: Rig) -> None:
    base = store.put(TEXT)
    digest = store.put(TEXT + b"more", base=base.digest).digest
    file_of(store, base.digest).unlink()
    store.restarted()
    assert not store.put(TEXT + b"more", base=base.digest).existed
    row = store.blobs.stat(digest, Call()).row
    assert (row.codec, row.base_digest, row.depth) == ("zstd", None, 0)
    assert store.get(digest) == TEXT + b"more"


def test_a_blob_is_never_based_on_a_delta_that_is_based_on_it(store: Rig) -> None:
    base = store.put(TEXT)
    delta = store.put(TEXT + b"more", base=base.digest)
    assert store.blobs.stat(delta.digest, Call()).row.base_digest == base.digest
    file_of(store, base.digest).unlink()  # both contents are still cached
    assert not store.put(TEXT, base=delta.digest).existed
    assert store.blobs.stat(base.digest, Call()).row.base_digest is None
    store.restarted()
    assert store.get(delta.digest) == TEXT + b"more"
    assert store.problems() == []


def test_of_two_puts_that_replace_the_same_bytes_one_file_stays(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(TEXT).digest
    file_of(store, digest).unlink()
    contents = store.blobs._contents
    look, looked = contents.is_stored, []

    def put_meanwhile(of: str, call: Call, inline_max_bytes: int | None) -> bool:
        found = look(of, call, inline_max_bytes)
        if not looked:
            looked.append(of)
            assert not store.put(TEXT).existed
        return found

    monkeypatch.setattr(contents, "is_stored", put_meanwhile)
    assert store.put(TEXT).existed
    assert store.get(digest) == TEXT
    store.sweep()
    assert store.stored_files() == [store.blobs.stat(digest, Call()).row.path]
    assert not store.blob_sweep.needs_recovery


def test_damage_that_a_delta_meets_in_its_base_is_noted_for_the_base(store: Rig) -> None:
    base = store.put(TEXT)
    delta = store.put(TEXT + b"more", base=base.digest).digest
    store.restarted()
    flip(file_of(store, base.digest))
    with pytest.raises(DataLoss):
        store.get(delta)
    assert not store.put(TEXT).existed
    assert store.get(delta) == TEXT + b"more"


def test_a_blob_whose_bytes_are_there_is_left_as_it_is(store: Rig) -> None:
    digest = store.put(TEXT).digest
    before = store.blobs.stat(digest, Call()).row
    for put in PUTS.values():
        assert put(store, TEXT) is True
    after = store.blobs.stat(digest, Call()).row
    assert (after.path, after.create_time) == (before.path, before.create_time)


def test_a_delta_of_which_nothing_is_stored_asks_for_the_whole(store: Rig) -> None:
    base = store.put(BASE)
    file_of(store, base.digest).unlink()
    store.restarted()
    with pytest.raises(NotFound) as refused:
        store.send(PutHeader(digest_of(TEXT), len(TEXT), base.digest, trim(BASE, TEXT)), [])
    assert refused.value.reason == "BASE_NOT_FOUND"


LOSSES: dict[str, Callable[[Rig, str], object]] = {
    "missing": lambda store, digest: file_of(store, digest).unlink(),
    "short": lambda store, digest: os.truncate(file_of(store, digest), 1000),
    "found by verify": flip_and_verify,
}


@pytest.mark.parametrize("damage", LOSSES)
def test_a_put_whose_cached_base_is_lost_is_stored_whole(store: Rig, damage: str) -> None:
    """The cache still has the base, so the delta could be made and read, but not after a restart."""
    base = store.put(TEXT)
    middle = store.put(TEXT + b"1", base=base.digest)
    LOSSES[damage](store, base.digest)
    found = [store.put(TEXT + b"more", base=each.digest).digest for each in (base, middle)]
    content = TEXT + b"by the client"
    header = PutHeader(digest_of(content), len(content), base.digest, trim(TEXT, content))
    if damage == "found by verify":  # the base has left the cache
        with pytest.raises(NotFound) as refused:
            store.send(header, [b"by the client"])
        assert refused.value.reason == "BASE_NOT_FOUND"
    else:
        found.append(store.send(header, [b"by the client"]).digest)
    store.restarted()
    assert {store.blobs.stat(each, Call()).row.base_digest for each in found} == {None}
    assert {store.get(each)[: len(TEXT)] for each in found} == {TEXT}


def test_verify_drops_damaged_blobs_from_the_cache(store: Rig) -> None:
    digest = store.put(TEXT).digest
    store.put(TEXT + b"more", base=digest)
    assert store.blobs._contents.is_cached(digest)
    flip_and_verify(store, digest)
    with pytest.raises(DataLoss):
        store.get(digest)


def test_nothing_of_a_damaged_row_is_used_when_its_bytes_are_replaced(store: Rig) -> None:
    other, digest = store.put(BASE), store.put(TEXT).digest
    path = store.blobs.stat(other.digest, Call()).row.path
    store.connection.execute("UPDATE blob SET path = ?, lease_expire_time = 'x' WHERE digest = ?", (path, digest))
    assert not store.put(TEXT).existed
    store.sweep()
    assert (store.get(digest), store.get(other.digest)) == (TEXT, BASE)
    store.restarted()
    assert store.blobs.stat(digest, Call()).row.lease_expire_time > store.now_ns


@pytest.mark.parametrize("put", ["streamed", "announced", "with a base", "as a delta"])
@pytest.mark.parametrize("content", [b"", SMALL, TEXT[:20_000]])
def test_a_put_for_a_kind_with_a_limit_of_0_moves_bytes_from_the_database_to_a_file(
    tmp_path: Path, content: bytes, put: str
) -> None:
    with rig(tmp_path, inline_by_kind={"checkpoint": 0}, inline_max_bytes=1 << 20) as store:
        digest = store.put(content).digest
        assert not store.blobs.stat(digest, Call()).row.path
        assert store.send(PutHeader(digest=digest, kind="artifact"), [content]).existed
        base = store.put(BASE).digest
        prefix, suffix = trim(BASE, content)
        chunks, headers = (
            [content],
            {
                "streamed": PutHeader(kind="checkpoint"),
                "announced": PutHeader(digest=digest, size_bytes=len(content), kind="checkpoint"),
                "with a base": PutHeader(base_digest=base, kind="checkpoint"),
                "as a delta": PutHeader(digest, len(content), base, (prefix, suffix), "checkpoint"),
            },
        )
        if put == "as a delta":
            chunks = [content[prefix : len(content) - suffix]]
        assert not store.send(headers[put], chunks).existed
        assert file_of(store, digest).is_file()
        assert store.send(headers[put], chunks).existed
        assert store.put(content).existed
        store.restarted()
        assert store.get(digest) == content
        assert store.problems() == []


def test_a_delta_for_a_kind_with_a_limit_of_0_has_a_file(tmp_path: Path) -> None:
    with rig(tmp_path, inline_by_kind={"checkpoint": 0}) as store:
        base = store.put(BASE).digest
        prefix, suffix = trim(BASE, TEXT)
        middle = TEXT[prefix : len(TEXT) - suffix]
        for kind, has_file in (("artifact", False), ("checkpoint", True)):
            content = TEXT[:prefix] + middle + kind.encode() + TEXT[len(TEXT) - suffix :]
            header = PutHeader(digest_of(content), len(content), base, (prefix, suffix), kind)
            stored = store.send(header, [middle + kind.encode()])
            row = store.blobs.stat(stored.digest, Call()).row
            assert (row.codec, bool(row.path)) == ("delta", has_file)
