"""The daemon's timed jobs, without a request from a client, and the defaults of their settings."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

import pytest

from holdfast.v1 import blob_service_pb2
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api, delete, insert, refused

pytestmark = pytest.mark.slow  # processes of its own

MB = 1_000_000


def database_bytes(daemon: DaemonProcess) -> int:
    return (daemon.data_dir / "holdfast.db").stat().st_size


def log_bytes(daemon: DaemonProcess) -> int:
    return (daemon.data_dir / "holdfast.db-wal").stat().st_size


def insert_large(api: Api, count: int) -> list[str]:
    """Inserts tasks; each needs about 3 MB in its row and history."""
    return [api.insert("task", title="t", description="x" * MB) for _ in range(count)]


def test_the_log_is_copied_into_the_database_and_does_not_grow(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--checkpoint-interval", "1")
    written = longest = 0
    with Api(daemon.socket, "") as api:
        while written < 36 * MB:
            before = database_bytes(daemon)
            insert_large(api, 2)
            longest = max(longest, log_bytes(daemon))
            assert eventually(lambda before=before: database_bytes(daemon) > before + 4 * MB)
            written += database_bytes(daemon) - before
    assert longest < 20 * MB, "the copied part of the log must be overwritten"


def test_a_blob_that_nothing_needs_goes_when_its_lease_is_over(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--sweep-interval", "1", "--lease", "1")
    with Api(daemon.socket, "") as api:
        digest = api.put(os.urandom(100_000)).digest
        request = blob_service_pb2.BlobServiceStatRequest(digest=digest)
        assert (daemon.data_dir / api.blob.Stat(request).path).exists()
        assert eventually(lambda: not list((daemon.data_dir / "blobs").rglob("*-*")))
        assert refused(lambda: api.blob.Stat(request)).reason == "BLOB_NOT_FOUND"


def test_the_file_shrinks_after_much_was_deleted(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--housekeeping-interval", "1", "--checkpoint-interval", "1")
    with Api(daemon.socket, "") as api:
        ids = insert_large(api, 10)
        assert eventually(lambda: database_bytes(daemon) > 29 * MB)
        full = database_bytes(daemon)
        api.commit(*(delete("task", id) for id in ids))
        assert eventually(lambda: database_bytes(daemon) < full - 8 * MB)
        assert api.problems() == []


def test_a_blob_is_leased_for_an_hour(directory: Directory) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        lease_s = api.put(b"x").lease_expire_time.ToNanoseconds() / 1e9 - time.time()
    assert 3590 < lease_s <= 3600


def test_an_answer_is_kept_for_an_hour(directory: Directory) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        first = {minutes: api.commit(insert("task", title="t"), request_id=f"{minutes}").revision for minutes in (59, 61)}
    daemon.end()
    with closing(sqlite3.connect(daemon.data_dir / "holdfast.db")) as rows, rows:
        for minutes in first:
            by = minutes * 60 * 10**9
            older = "UPDATE request SET create_time = create_time - ?, checksum = NULL WHERE request_id = ?"
            rows.execute(older, (by, f"{minutes}"))
    again = directory.serve()
    with Api(again.socket, "") as api:
        assert api.run_job("housekeeping")["requests_expired"] == 1
        second = {minutes: api.commit(insert("task", title="t"), request_id=f"{minutes}").revision for minutes in (59, 61)}
    assert (second[59], second[61]) == (first[59], first[61] + 1)
