"""Commit times when the clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import timestamp_pb2

from holdfast.v1 import journal_service_pb2
from holdfastd.model.call import Call
from holdfastd.model.commands import ExpireRequests
from tests.support.engine import Engine, commit_of, delete, insert_task

SECOND = 10**9
HOUR = 3600 * SECOND
NOW = 1_800_000_000 * SECOND


class Clocked:
    """A store whose clock the test sets."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now_ns = directory, NOW
        self.open()

    def open(self) -> None:
        self.engine = Engine(self.directory)
        self.engine.batcher._clock_ns = lambda: self.now_ns

    def commit(self, ahead_ns: int) -> int:
        """Commits with the clock so far ahead of NOW. Returns how far ahead the commit's time is."""
        self.now_ns = NOW + ahead_ns
        self.engine.submit(insert_task())
        return int(self.engine.query("SELECT commit_time FROM commits ORDER BY revision DESC LIMIT 1")[0][0]) - NOW

    def warnings(self) -> list[str]:
        return self.engine.ledger.clock_warnings(self.now_ns)

    def audit(self, text: str, **fields: Any) -> journal_service_pb2.JournalServiceListResponse:
        request = journal_service_pb2.JournalServiceListRequest(journal="audit", filter=text, **fields)
        return self.engine.journals.list(request, Call())

    def audited(self, text: str) -> list[int]:
        return [each.revision for each in self.audit(text).entries]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Clocked]:
    made = Clocked(tmp_path)
    yield made
    made.engine.close()


def test_a_clock_that_is_a_little_behind_repeats_the_last_time(store: Clocked) -> None:
    assert [store.commit(ahead) for ahead in (0, 2 * SECOND, SECOND, -HOUR + 2 * SECOND, 3 * SECOND)] == [
        0,
        2 * SECOND,
        2 * SECOND,
        2 * SECOND,
        3 * SECOND,
    ]
    store.now_ns = NOW - 60 * SECOND
    [warning] = store.warnings()
    assert warning.startswith("The clock is 63 s behind the last commit.")
    store.now_ns = NOW + 3 * SECOND
    assert store.warnings() == []


def test_one_wild_jump_does_not_freeze_the_times(store: Clocked) -> None:
    jump = 10 * 365 * 24 * HOUR
    assert [store.commit(ahead) for ahead in (0, jump, SECOND, 2 * SECOND)] == [0, jump, SECOND, 2 * SECOND]
    [warning] = store.warnings()
    assert "set back before revision 3" in warning
    store.engine.close()
    store.open()
    assert store.warnings() == [warning]
    assert store.commit(3 * SECOND) == 3 * SECOND


def test_a_refused_commit_leaves_no_trace(store: Clocked) -> None:
    store.commit(2 * HOUR)
    store.now_ns = NOW
    with pytest.raises(Exception, match="MISSING"):
        store.engine.submit(delete("task", "MISSING"))
    assert store.engine.query("SELECT value FROM meta WHERE name = 'clock_set_back'") == []
    assert "behind the last commit" in store.warnings()[0]
    store.commit(0)
    assert store.engine.query("SELECT value FROM meta WHERE name = 'clock_set_back'") == [("2",)]


def test_lookups_by_time_find_both_sides(store: Clocked) -> None:
    for ahead in (0, 1, 5 * HOUR, 6 * HOUR, 1, 2, 3, 5 * HOUR):
        store.commit(ahead * (1 if ahead > 100 else SECOND))

    def at(ahead_ns: int) -> str:
        stamp = timestamp_pb2.Timestamp()
        stamp.FromNanoseconds(NOW + ahead_ns)
        return str(stamp.ToJsonString())

    assert store.audited(f'time >= "{at(5 * HOUR)}"') == [3, 4, 8]
    assert store.audited(f'time < "{at(2 * SECOND)}"') == [1, 2, 5]
    assert store.audited(f'time = "{at(SECOND)}"') == [2, 5]
    assert store.audited(f'time > "{at(7 * HOUR)}"') == []


IN_2020 = 'time > "2020-01-01T00:00:00Z"'


@pytest.mark.parametrize("text", [IN_2020, f"version = 1 AND {IN_2020}", f"kind = 'x' OR NOT create_{IN_2020}"])
def test_lookups_by_time_say_that_times_decrease(store: Clocked, text: str) -> None:
    store.commit(2 * HOUR)
    assert list(store.audit(text).warnings) == []
    store.commit(0)
    assert list(store.audit(text).warnings) == store.warnings()
    assert list(store.audit("version = 1").warnings) == []


def test_the_warning_is_on_the_first_page_only(store: Clocked) -> None:
    store.commit(2 * HOUR)
    store.commit(0)
    first = store.audit(IN_2020, page_size=1)
    second = store.audit(IN_2020, page_size=1, page_token=first.next_page_token)
    assert len(first.warnings) == 1 and len(second.entries) == 1 and not second.warnings


def test_answers_to_requests_do_not_expire_because_a_commit_was_ahead(store: Clocked) -> None:
    store.commit(20 * HOUR)
    store.now_ns = NOW
    command = commit_of(insert_task("A"), request_id="r")
    first: Any = store.engine.writer.submit(command, Call(10.0))
    store.now_ns = NOW - 1
    assert store.engine.writer.submit(ExpireRequests(0, 1, 10), Call(10.0)) == 0
    assert store.engine.writer.submit(command, Call(10.0)).revision == first.revision


def test_status_uses_the_real_clock(store: Clocked) -> None:
    store.commit(0)
    assert (time.time_ns() < NOW) == bool(store.engine.parts._warnings())
