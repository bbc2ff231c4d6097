"""A dry run of any job returns what the job would do, and changes no row, no file and no revision."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from holdfast.v1 import admin_service_pb2
from tests.end_to_end.daemons import Directory
from tests.support.api import Api, delete, insert, refused

pytestmark = pytest.mark.slow  # processes of its own

# No timed job runs; leases and remembered answers expire after a second; the first sweep fails before it unlinks files.
FLAGS = ("--lease", "1", "--request-retention", "1", "--sweep-interval", "1000", "--housekeeping-interval", "1000")
FLAGS += ("--checkpoint-interval", "1000")
FAILPOINTS = "sweep.after_commit=fail@1"


def work_for_every_job(api: Api, data_dir: Path) -> None:
    """Work for each job: expired rows, empty pages, a full log, unreferenced blobs, trash, an orphan and an abandoned upload."""
    api.put(os.urandom(100_000))
    ids = [api.commit(insert("task", title="t", description="x" * 500_000), request_id=f"r{n}").results[0].id for n in range(4)]
    api.commit(*(delete("task", id) for id in ids))
    time.sleep(1.1)
    assert refused(lambda: api.admin.RunJob(admin_service_pb2.AdminServiceRunJobRequest(job="sweep"))).reason == "INTERNAL"
    api.put(os.urandom(100_000))
    time.sleep(1.1)
    orphan = data_dir / "blobs" / "ab" / f"{'ab' * 32}-0123.zst"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    (data_dir / "blobs" / "tmp" / "dead").write_bytes(b"half a blob")


def files_of(data_dir: Path) -> dict[str, bytes]:
    """The contents of every file; rows are in the database and its log. The log's shared-memory index changes with readers."""
    files = (each for each in data_dir.rglob("*") if each.is_file() and not each.name.endswith("-shm"))
    return {str(each.relative_to(data_dir)): each.read_bytes() for each in files}


def dry_run(api: Api, job: str) -> dict[str, int]:
    request = admin_service_pb2.AdminServiceRunJobRequest(job=job, dry_run=True)
    return dict(list(api.admin.RunJob(request, timeout=30))[-1].counts)


def test_a_dry_run_of_any_job_changes_nothing(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", *FLAGS, HOLDFAST_FAILPOINTS=FAILPOINTS)
    with Api(daemon.socket, "") as api:
        work_for_every_job(api, daemon.data_dir)
        jobs = api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest()).jobs
        before, revision = files_of(daemon.data_dir), api.revision()
        told = {}
        for job in jobs:
            told[job] = dry_run(api, job)
            assert any(told[job].values()), f"{job} has nothing to do, so this test would prove nothing"
            assert files_of(daemon.data_dir) == before, job
            assert api.revision() == revision, job
        assert sorted(told) == ["checkpoint", "checksums", "compact", "housekeeping", "recover", "sweep", "trim"]
        assert told["recover"] == {"orphan_files": 1, "files_deleted": 2, "temp_files_deleted": 1}
        assert api.run_job("recover") == told["recover"]
        assert dry_run(api, "recover") == {"orphan_files": 0, "files_deleted": 0, "temp_files_deleted": 0}
        assert api.problems() == []
