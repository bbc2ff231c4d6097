"""The log never contains what callers send, not even in the log lines of unexpected errors."""

from __future__ import annotations

import sys

import pytest

from holdfast.v1 import journal_service_pb2, store_service_pb2
from tests.end_to_end.daemons import Directory, eventually
from tests.support.api import Api, insert, refused

pytestmark = pytest.mark.slow  # processes of its own

MARK = "MARKED-PAYLOAD"
# A daemon with a defect in every layer; the exceptions quote their arguments.
FAULTY = f"""
import sys
from holdfastd.__main__ import main
from holdfastd.service.blobs.sweep import BlobSweep
from holdfastd.service.journals import Journals
from holdfastd.service.records import Records
from holdfastd.store import commits

def fail(*given):
    raise RuntimeError(f"{MARK} {{given}}")

def fail_in_a_stream(*given):
    fail(*given)
    yield

Records.get = commits.allocate_ids = BlobSweep.delete_rows = fail
Journals.read = fail_in_a_stream
sys.exit(main())
"""


def send_everything(api: Api) -> None:
    api.commit(insert("session", id="S", title=MARK), insert("task", title=MARK, description=MARK, tags=[MARK]))
    api.append("S", MARK)
    api.put(MARK.encode())
    assert refused(lambda: api.list("task", filter=f'title = "{MARK}')).reason == "FILTER_INVALID"
    assert refused(lambda: api.list("task", filter=f'x{MARK} = "x"')).reason == "FIELD_UNKNOWN"
    assert MARK in refused(lambda: api.commit(insert("task", title="t", status=MARK))).message


def fail_on_every_floor(api: Api) -> None:
    allocate = store_service_pb2.StoreServiceAllocateIdRequest(workspace=api.workspace, kind="task", request_id=MARK)
    for call in (
        lambda: api.get("task", MARK),
        lambda: api.store.AllocateId(allocate),
        lambda: api.journal.Read(journal_service_pb2.JournalServiceReadRequest(parent_kind="session", parent_id=MARK)),
    ):
        assert refused(call).reason == "INTERNAL"


def test_no_payload_gets_into_the_log(directory: Directory) -> None:
    directory.command = [sys.executable, "-c", FAULTY]
    flags = ("--log-level", "debug", "--sweep-interval", "1", "--checkpoint-interval", "1")
    daemon = directory.serve("store", "run/s.sock", *flags)
    with Api(daemon.socket, "") as api:
        send_everything(api)
        fail_on_every_floor(api)
    assert eventually(lambda: "job=sweep error=RuntimeError" in daemon.log())
    assert eventually(lambda: "event=job_done job=checkpoint" in daemon.log())
    daemon.end()
    log = daemon.log()
    assert (log.count("event=call_failed"), log.count("error=RuntimeError") >= 4) == (3, True), log
    assert MARK not in log
