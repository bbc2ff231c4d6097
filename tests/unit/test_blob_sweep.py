"""The sweep: which blobs it deletes and keeps, and its races with Put and Get at each step."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfastd import failpoints
from holdfastd.errors import DataLoss, FailedPrecondition, NotFound
from holdfastd.jobs import sweep
from holdfastd.model.blobs import PutHeader, digest_hex, digest_of
from holdfastd.model.call import Call
from holdfastd.service.blobs.draft import Draft
from holdfastd.store import blobs as rows
from tests.unit.blob_rig import HOUR_NS, Rig, rig

TEXT = random.Random(3).randbytes(200_000).hex().encode()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path) as made:
        yield made


def expire(store: Rig) -> None:
    store.now_ns += 2 * HOUR_NS


def test_a_leased_blob_stays_and_an_expired_one_goes(store: Rig) -> None:
    put = store.put(TEXT)
    store.put(b"inline")
    assert store.sweep()["blobs_deleted"] == 0
    expire(store)
    assert store.sweep(dry_run=True) == (
        expected := {
            "blobs_examined": 2,
            "blobs_deleted": 2,
            "bytes_freed": put.stored_bytes + 6,
            "files_deleted": 1,
            "temp_files_deleted": 0,
        }
    )
    assert store.get(put.digest) == TEXT
    assert store.sweep() == expected
    assert store.stored_files() == []
    assert store.connection.execute("SELECT count(*) FROM blob_trash").fetchone() == (0,)
    with pytest.raises(NotFound):
        store.get(put.digest)


def test_a_referenced_blob_stays_until_its_last_reference_goes(store: Rig) -> None:
    digest = store.put(TEXT).digest
    store.refer(digest, "A")
    store.refer(digest, "B")
    assert store.blobs.stat(digest, Call()).reference_count == 2
    expire(store)
    assert store.sweep()["blobs_deleted"] == 0
    assert store.sweep()["blobs_examined"] == 0  # no longer a candidate
    store.release(digest, "A")
    assert store.sweep()["blobs_deleted"] == 0
    store.release(digest, "B")
    assert store.sweep()["blobs_deleted"] == 1


def test_a_lease_outlives_a_reference(store: Rig) -> None:
    digest = store.put(TEXT).digest
    store.refer(digest, "A")
    store.release(digest, "A")
    assert store.sweep(dry_run=True)["blobs_deleted"] == 0
    assert store.sweep()["blobs_deleted"] == 0
    expire(store)
    assert store.sweep()["blobs_deleted"] == 1


def test_a_reference_to_nothing_is_refused(store: Rig) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        rows.reference(store.connection, digest_of(b"x"), "default", "artifact", "A", "content_digest")
    assert refused.value.reason == "BLOB_NOT_FOUND"


def test_a_base_is_pinned_while_a_delta_needs_it(store: Rig) -> None:
    first = store.put(TEXT)
    second = store.put(TEXT + b"2", base=first.digest)
    third = store.put(TEXT + b"23", base=second.digest)
    store.refer(third.digest, "A")
    expire(store)
    assert store.sweep()["blobs_deleted"] == 0
    store.restarted()
    assert store.get(third.digest) == TEXT + b"23"
    store.release(third.digest, "A")
    assert store.sweep(dry_run=True)["blobs_deleted"] == 3
    assert store.sweep()["blobs_deleted"] == 3
    assert store.blobs.totals(Call()).count == 0


def test_a_sweep_of_many_goes_in_batches(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        store.put(b"%d" % number)
    expire(store)
    monkeypatch.setattr(sweep, "_BATCH", 10)
    assert store.sweep()["blobs_deleted"] == 25


def test_a_dead_put_leaves_only_a_temporary_file_that_the_next_sweep_removes(store: Rig) -> None:
    store.blobs.begin(PutHeader(), Call()).feed(random.Random(1).randbytes(2_000_000))
    alive = len(store.temporary_files())
    assert store.sweep()["temp_files_deleted"] == 0  # the upload may still be running
    store.restarted()
    assert (alive, store.temporary_files(), store.stored_files()) == (1, store.temporary_files(), [])
    assert store.sweep(dry_run=True)["temp_files_deleted"] == 1
    assert store.sweep()["temp_files_deleted"] == 1
    assert store.temporary_files() == []


class Killed(BaseException):
    """Simulates the death of the daemon at a failpoint."""


def die_in_a_put(store: Rig, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a Put at a step: no cleanup code runs."""
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "hit", dies_at(step))
        patch.setattr(Draft, "discard", lambda self: None)
        with pytest.raises(Killed):
            store.put(TEXT)


@pytest.mark.parametrize("step", ["blobs.before_sync", "blobs.after_sync", "blobs.after_rename", "blobs.after_directory_sync"])
def test_after_a_death_in_a_put_recovery_leaves_no_orphan(store: Rig, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.put(b"kept" * 100_000).digest
    die_in_a_put(store, step, monkeypatch)
    store.restarted()
    counts = store.recover()
    assert counts["orphan_files"] + counts["temp_files_deleted"] == 1
    assert (store.stored_files(), store.temporary_files()) == ([], [])
    assert store.get(kept) == b"kept" * 100_000
    assert store.problems() == []


@pytest.mark.parametrize("step", ["sweep.after_commit", "sweep.after_unlink"])
def test_after_a_death_in_a_sweep_the_next_one_ends_it(store: Rig, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(TEXT)
    expire(store)
    monkeypatch.setattr(failpoints, "hit", dies_at(step))
    with pytest.raises(Killed):
        store.sweep()
    monkeypatch.setattr(failpoints, "hit", lambda name: None)
    store.restarted()
    assert store.sweep()["files_deleted"] == 1
    assert store.stored_files() == []
    assert store.connection.execute("SELECT count(*) FROM blob_trash").fetchone() == (0,)


def dies_at(step: str) -> Callable[[str], None]:
    def hit(name: str) -> None:
        if name == step:
            raise Killed

    return hit


def once_at(step: str, action: Callable[[], object]) -> Callable[[str], None]:
    done: list[str] = []

    def hit(name: str) -> None:
        if name == step and not done:
            done.append(name)
            action()

    return hit


PUT_STEPS = [
    "blobs.created",
    "blobs.before_sync",
    "blobs.after_sync",
    "blobs.after_rename",
    "blobs.after_directory_sync",
    "blobs.after_commit",
]
SWEEP_STEPS = ["sweep.after_commit", "sweep.after_unlink", "sweep.after_trash_emptied", "sweep.after_temporary_removed"]


@pytest.mark.parametrize("step", PUT_STEPS)
def test_a_sweep_at_any_step_of_a_put_of_the_same_digest(store: Rig, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(TEXT)
    expire(store)
    swept: list[dict[str, int]] = []
    monkeypatch.setattr(failpoints, "hit", once_at(step, lambda: swept.append(store.sweep())))
    put = store.put(TEXT)
    assert swept[0]["blobs_deleted"] == (0 if step == "blobs.after_commit" else 1)
    assert store.get(put.digest) == TEXT
    store.sweep()
    assert store.get(put.digest) == TEXT
    assert len(store.stored_files()) == 1
    assert store.problems() == []


@pytest.mark.parametrize("step", SWEEP_STEPS)
@pytest.mark.parametrize("digest", ["", digest_of(TEXT)], ids=["unannounced", "announced"])
def test_a_put_at_any_step_of_a_sweep_of_the_same_digest(
    store: Rig, step: str, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(TEXT)
    expire(store)
    puts: list[bool] = []
    monkeypatch.setattr(failpoints, "hit", once_at(step, lambda: puts.append(store.put(TEXT, digest=digest).existed)))
    assert store.sweep()["blobs_deleted"] == 1
    assert puts == [False]
    assert store.get(digest_of(TEXT)) == TEXT
    assert len(store.stored_files()) == 1
    assert store.problems() == []


def test_a_sweep_between_looking_a_known_blob_up_and_leasing_it(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(TEXT)
    expire(store)
    real = store.writer.submit

    def sweep_first(command: object, call: Call) -> object:
        monkeypatch.setattr(store.writer, "submit", real)
        store.sweep()
        return real(command, call)

    monkeypatch.setattr(store.writer, "submit", sweep_first)
    put = store.put(TEXT, digest=digest_of(TEXT))
    assert not put.existed
    assert store.get(put.digest) == TEXT


def test_a_known_blob_is_leased_while_it_is_sent(store: Rig) -> None:
    store.put(TEXT)
    expire(store)
    upload = store.blobs.begin(PutHeader(digest=digest_of(TEXT)), Call())
    store.sweep()
    upload.feed(TEXT)
    assert upload.finish(Call()).existed
    assert store.get(digest_of(TEXT)) == TEXT


@pytest.mark.parametrize("step", ["blobs.before_sync", "blobs.after_rename"])
def test_a_base_that_is_swept_under_a_delta_makes_it_a_full_copy(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig(tmp_path, inline_max_bytes=0) as store:
        base = store.put(TEXT)
        expire(store)
        monkeypatch.setattr(failpoints, "hit", once_at(step, store.sweep))
        put = store.put(TEXT + b"more", base=base.digest)
        row = store.blobs.stat(put.digest, Call()).row
        assert (row.codec, row.base_digest) == ("zstd", None)
        store.restarted()
        assert store.get(put.digest) == TEXT + b"more"
        assert store.stored_files() == [row.path]


def test_a_sweep_does_not_break_a_running_read(store: Rig) -> None:
    content = TEXT * 8
    digest = store.put(content).digest
    chunks = iter(store.blobs.read(digest, 0, 0, Call()))
    first = next(chunks)
    expire(store)
    assert store.sweep()["files_deleted"] == 1
    assert first + b"".join(chunks) == content


def test_a_file_that_is_swept_and_stored_anew_under_a_reader_is_found(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(TEXT).digest
    real = store.files.open

    def replace_first(path: str) -> object:
        monkeypatch.setattr(store.files, "open", real)
        expire(store)
        store.sweep()
        store.put(TEXT)
        return real(path)

    monkeypatch.setattr(store.files, "open", replace_first)
    assert store.get(digest) == TEXT


def test_a_file_that_is_swept_under_a_reader_is_not_data_loss(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(TEXT).digest
    real = store.files.open

    def sweep_first(path: str) -> object:
        monkeypatch.setattr(store.files, "open", real)
        expire(store)
        store.sweep()
        return real(path)

    monkeypatch.setattr(store.files, "open", sweep_first)
    with pytest.raises(NotFound):
        store.get(digest)


def test_orphans_are_found_beside_live_uploads(store: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[dict[str, int]] = []
    monkeypatch.setattr(failpoints, "hit", once_at("blobs.after_rename", lambda: counts.append(store.recover())))
    put = store.put(TEXT)
    assert counts == [{"orphan_files": 0, "files_deleted": 0, "temp_files_deleted": 0}]
    orphan = store.data_dir / "blobs" / "ab" / ("ab" * 32 + "-0123.zst")
    orphan.parent.mkdir()
    orphan.write_bytes(b"orphan")
    assert store.recover()["orphan_files"] == 1
    assert not orphan.exists()
    assert store.get(put.digest) == TEXT


def test_a_file_is_looked_up_by_its_path_whatever_its_name(store: Rig) -> None:
    digest = store.put(TEXT).digest
    (path,) = store.stored_files()
    other = "blobs/00/another-name"
    (store.data_dir / other).parent.mkdir(exist_ok=True)
    (store.data_dir / path).rename(store.data_dir / other)
    store.connection.execute("UPDATE blob SET path = ? WHERE digest = ?", (other, digest))
    assert rows.named_paths(store.connection, [path, other]) == {other}
    plan = store.connection.execute(f"EXPLAIN QUERY PLAN {rows.NAMES_PATH[0]}", (other,)).fetchall()
    assert "USING COVERING INDEX blob_by_path (path=?)" in str(plan) or "USING INDEX blob_by_path (path=?)" in str(plan)


def test_threads_that_put_read_and_sweep_the_same_few_blobs(tmp_path: Path) -> None:
    contents = [TEXT + b"%d" % number for number in range(4)]
    ends = time.monotonic() + 1.0
    wrong: list[Exception] = []

    def work(store: Rig, number: int) -> None:
        try:
            for turn in itertools.count():
                if time.monotonic() > ends:
                    return
                content = contents[(number + turn) % 4]
                store.put(content, base=digest_of(contents[turn % 4]), digest=digest_of(content) if turn % 2 else "")
                store.now_ns += 1000
                with contextlib.suppress(NotFound):
                    assert store.get(digest_of(content)) == content
                store.sweep()
        except Exception as error:
            wrong.append(error)

    with rig(tmp_path, lease_s=1e-6, inline_max_bytes=1000, cache_bytes=0) as store:
        threads = [threading.Thread(target=work, args=(store, number)) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert [error for error in wrong if getattr(error, "reason", "") != "BLOB_SWEPT"] == []
        assert store.problems() == []
        expire(store)
        store.sweep()
        assert (store.stored_files(), store.temporary_files()) == ([], [])


def test_a_missing_file_of_a_live_row_is_data_loss(store: Rig) -> None:
    digest = store.put(TEXT).digest
    (store.data_dir / store.stored_files()[0]).unlink()
    with pytest.raises(DataLoss) as lost:
        store.get(digest)
    assert (lost.value.reason, lost.value.metadata["digest"]) == ("BLOB_DAMAGED", digest)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE blob SET path = replace(path, '.', ',') WHERE path <> ''",  # the row that named the file
        "UPDATE blob SET size_bytes = size_bytes + 1 WHERE path = ''",  # another row
    ],
)
def test_recovery_deletes_nothing_while_the_row_of_a_blob_is_damaged(store: Rig, damage: str) -> None:
    digest = store.put(TEXT).digest
    store.put(b"inline")
    orphan = store.data_dir / "blobs" / "ab" / ("ab" * 32 + "-0123.zst")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    files = store.stored_files()
    before = store.connection.execute("SELECT digest, path, size_bytes FROM blob").fetchall()
    store.connection.execute(damage)
    store.restarted()
    counts = store.recover()
    assert (counts["files_deleted"], counts["damaged_rows"]) == (0, 1)
    assert store.stored_files() == files
    assert store.blob_sweep.keeps_orphans
    for row in before:
        store.connection.execute("UPDATE blob SET digest = ?, path = ?, size_bytes = ? WHERE digest = ?", (*row, row[0]))
    assert store.recover()["orphan_files"] == 1
    assert store.stored_files() == [each for each in files if "-0123" not in str(each)]
    assert store.get(digest) == TEXT


@pytest.mark.parametrize("stray", ["README", "store_id.bak", "abc/x", "ZZ/x", "0f", "tmp/lost+found/x", "{published}/sub/x"])
def test_what_a_user_put_beside_the_blobs_is_left_alone(store: Rig, stray: str) -> None:
    digest = store.put(TEXT).digest
    place = store.data_dir / "blobs" / stray.format(published=digest_hex(digest)[:2])
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"a user's")
    assert store.recover()["orphan_files"] == 0
    assert place.read_bytes() == b"a user's"
    assert store.get(digest) == TEXT
