"""How the client uses the registry of kinds, and converts values in lists of messages."""

from __future__ import annotations

import datetime

import pytest

import holdfast
from holdfast.contract.kinds import KINDS, plural
from holdfast.v1 import record_pb2
from holdfast.values.fields import fill
from holdfast.values.filters import equal, quoted_time


@pytest.mark.parametrize(
    ("kind", "nouns"),
    [("task", "tasks"), ("task_state", "task_states"), ("branch", "branches"), ("policy", "policies"), ("day", "days")],
)
def test_plurals(kind: str, nouns: str) -> None:
    assert plural(kind) == nouns


def test_only_the_constitution_is_named_in_the_singular() -> None:
    assert [kind.noun for kind in KINDS.values() if kind.noun != plural(kind.name)] == ["constitution"]


def test_ids_that_are_made_of_fields() -> None:
    assert KINDS["branch"].made_id(record_pb2.Branch(name="fix/a")) == "fix/a"
    assert KINDS["branch"].made_id(record_pb2.Branch()) == ""
    assert KINDS["constitution"].made_id(record_pb2.Constitution()) == "constitution"
    assert KINDS["workflow"].made_id(record_pb2.Workflow(workflow_id="ship")) == "", "the daemon numbers versions"


def test_messages_in_lists_go_in_and_come_out_as_dicts() -> None:
    began = datetime.datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=datetime.UTC)
    log = record_pb2.ExecutionLog()
    fill(log, "execution_log", {"steps": ({"name": name, "start_time": began, "detail": {"n": [2**70]}} for name in "ab")})
    shown = holdfast.plain(log)["steps"]
    assert [each["name"] for each in shown] == ["a", "b"]
    assert shown[0] == {"name": "a", "status": "", "start_time": began, "end_time": None, "detail": {"n": [2**70]}}
    again = record_pb2.ExecutionLog()
    fill(again, "execution_log", {"steps": shown})
    assert again == log
    fill(again, "execution_log", {"steps": [log.steps[1]]})
    assert list(again.steps) == [log.steps[1]]
    fill(again, "execution_log", {"steps": None})
    assert not again.steps


@pytest.mark.parametrize("time", [datetime.datetime(2026, 3, 1), "2026"])
def test_times_in_lists_are_checked(time: object) -> None:
    with pytest.raises((TypeError, holdfast.InvalidArgument), match=r"execution_log\.steps\.start_time: "):
        fill(record_pb2.ExecutionLog(), "execution_log", {"steps": [{"name": "a", "start_time": time}]})


def test_filters_of_values() -> None:
    assert equal(task_id='a "b"', type="", line=7) == 'task_id = "a \\"b\\"" AND line = 7'
    noon = datetime.datetime(2026, 3, 1, 13, 0, 0, 1500, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    assert quoted_time(noon) == '"2026-03-01T12:00:00.001500Z"'
