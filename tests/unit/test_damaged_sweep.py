"""One bit of the database changed while the daemon is stopped: the sweep deletes no blob that is still needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holdfastd.errors import DataLoss
from holdfastd.model.call import Call
from tests.support.flips import flip
from tests.unit.blob_rig import HOUR_NS, Rig, rig

TEXT = random.Random(3).randbytes(200_000).hex().encode()
KEPT = {"blobs_deleted": 0, "files_deleted": 0, "damaged_rows": 1}


def filled(data_dir: Path) -> tuple[str, str]:
    """A base, and a delta on it that a record refers to."""
    with rig(data_dir) as store:
        base = store.put(TEXT).digest
        delta = store.put(TEXT + b"more", base=base).digest
        store.refer(delta, "A")
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return base, delta


def swept(store: Rig) -> dict[str, int]:
    """The counts of two sweeps after the leases have ended, which must be the same."""
    store.now_ns += 2 * HOUR_NS
    counts = store.sweep(dry_run=True), store.sweep(), store.sweep()
    assert counts[0] == counts[1] == counts[2]
    return {name: counts[0].get(name, 0) for name in KEPT}


@pytest.mark.parametrize(("index", "place"), [("blob_by_base", 0), ("sqlite_autoindex_blob_reference_1", 1)])
def test_a_hidden_need_stops_the_sweep(tmp_path: Path, index: str, place: int) -> None:
    digests = filled(tmp_path)
    flip(tmp_path / "holdfast.db", index, digests[place].encode(), 70, 0)
    with rig(tmp_path) as store:
        assert swept(store) == KEPT
        assert [len(store.get(each)) for each in digests] == [len(TEXT), len(TEXT) + 4]


@pytest.mark.parametrize("column", ["base_digest = NULL", "lease_expire_time = 'x'", "path = path || 'x'"])
def test_a_blob_whose_row_is_damaged_is_not_deleted(tmp_path: Path, column: str) -> None:
    with rig(tmp_path) as store:
        digest = store.put(TEXT).digest
        other = store.put(b"other").digest
        store.connection.execute(f"UPDATE blob SET {column}, create_time = 7 WHERE digest = ?", (digest,))
        store.now_ns += 2 * HOUR_NS
        assert store.sweep(dry_run=True)["blobs_deleted"] == 1
        assert store.sweep()["blobs_deleted"] == 1
        assert store.connection.execute("SELECT digest FROM blob").fetchall() == [(digest,)]
        assert not store.put(TEXT).existed
        store.put(b"other")
        assert (store.get(digest), store.get(other)) == (TEXT, b"other")
        store.now_ns += 2 * HOUR_NS
        assert store.sweep()["blobs_deleted"] == 2


@pytest.mark.parametrize("table", ["blob_candidate", "blob_trash"])
def test_a_sweep_ends_when_an_index_hides_what_it_deletes(tmp_path: Path, table: str) -> None:
    with rig(tmp_path) as store:
        digest = store.put(TEXT).digest
        path = store.blobs.stat(digest, Call()).row.path
        if table == "blob_trash":
            store.connection.execute("INSERT INTO blob_trash (path, stored_bytes) VALUES ('blobs/x', 1)")
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    key = digest if table == "blob_candidate" else "blobs/x"
    flip(tmp_path / "holdfast.db", f"sqlite_autoindex_{table}_1", key.encode(), 6, 0)
    with rig(tmp_path) as store:
        store.now_ns += 2 * HOUR_NS if table == "blob_candidate" else 0
        for _ in range(2):
            with pytest.raises(DataLoss, match=r"does not find|is damaged"):
                store.sweep()
        assert store.stored_files() == [path]
