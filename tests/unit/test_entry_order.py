"""Entries of all parents in the order of commits: an entry that an index hides is noticed, wherever in the page it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.contract.kinds import JOURNALS
from holdfast.v1 import entry_pb2
from holdfast.v1 import journal_service_pb2 as pb
from holdfastd.errors import DataLoss, InvalidArgument
from holdfastd.model.call import Call
from holdfastd.store import entry_gaps, query
from tests.support.engine import Engine, answered, insert_task

EVENT = JOURNALS["event"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.submit(insert_task("T1"), insert_task("T2"))
    for parent in ("T1", "T2", "T1", "T2", "T1"):
        entries = [entry_pb2.Entry(event=entry_pb2.Event(type="x")) for _ in range(2)]
        request = pb.JournalServiceAppendRequest(parent_kind="task", parent_id=parent, entries=entries)
        answered(made.commits.append(request, Call(30)))
    yield made
    made.close()


def rows_of(engine: Engine) -> list[Any]:
    sql, parameters = query.list_by_revision(engine.parts.reading.dialect, EVENT, "default", None, limit=100)
    return engine.query(sql, *parameters)


def place(row: Any) -> tuple[int, int, int]:
    return row[6], row[0], row[3]


def test_the_rows_are_in_the_order_of_commits(engine: Engine) -> None:
    rows = rows_of(engine)
    assert [(row[2], row[3]) for row in rows] == [
        *(("T1", 1), ("T1", 2), ("T2", 1), ("T2", 2), ("T1", 3), ("T1", 4), ("T2", 3), ("T2", 4), ("T1", 5), ("T1", 6))
    ]


def test_no_page_without_damage_is_refused(engine: Engine) -> None:
    rows = rows_of(engine)
    for first in range(len(rows)):
        for last in range(first, len(rows)):
            span = (place(rows[first - 1]) if first else None, place(rows[last]) if last < len(rows) - 1 else None)
            entry_gaps.check_by_revision(engine.connection, EVENT, rows[first : last + 1], span)


@pytest.mark.parametrize("hidden", range(10))
def test_a_hidden_entry_is_named(engine: Engine, hidden: int) -> None:
    rows = rows_of(engine)
    gone = rows.pop(hidden)
    with pytest.raises(DataLoss, match=f"Entry {gone[3]} of the event of task {gone[2]} is missing"):
        entry_gaps.check_by_revision(engine.connection, EVENT, rows, (None, None))


def test_only_journals_with_that_order_have_it(engine: Engine) -> None:
    request = pb.JournalServiceListRequest(journal="transcript", by_revision=True)
    with pytest.raises(InvalidArgument, match="no order of commits"):
        engine.journals.list(request, Call(30))
