"""The values that the client returns: fields as plain values, changes in place, equality, copies, text forms, errors."""

from __future__ import annotations

import ast
import copy
import datetime
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import holdfast
from holdfast.contract.kinds import JOURNALS, KINDS, FieldType
from holdfast.v1 import entry_pb2, record_pb2, store_service_pb2
from holdfast.values import views
from holdfast.values.entries import entry_of
from holdfast.values.fields import message_of
from holdfast.values.view_classes import class_named, view_class_of, view_of, viewed_messages

STUB = Path(views.__file__).with_name("views.pyi")
NS = 1_700_000_000_123_456_789


def a_task(**fields: Any) -> record_pb2.Task:
    return record_pb2.Task(id="TASK-001", version=3, title="Fix", tags=["a"], metadata='{"b": [1, 2]}', **fields)


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_what_is_unset_is_none_or_zero(kind: Any) -> None:
    view: Any = view_class_of(kind)()
    for field in kind.fields:
        value = getattr(view, field.name)
        if field.repeated:
            assert value == []
        elif field.optional or field.time or field.json:
            assert value is None, field.name
        else:
            assert value == {FieldType.STRING: "", FieldType.BOOLEAN: False}.get(field.type, 0) and value is not None, field.name


def test_the_stub_declares_each_class_and_field() -> None:
    classes = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(viewed_messages()) + len(JOURNALS)
    for node in classes:
        declared = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)}
        places = set(class_named(node.name)._places)
        own = declared if node.bases[0].id != "Entry" else declared | set(class_named("Entry")._places)  # type: ignore[attr-defined]
        assert own == places, node.name
        has_message = any(isinstance(each, ast.FunctionDef) and each.name == "message" for each in node.body)
        assert has_message or "message" in declared or node.name == "Entry", node.name


def test_no_field_hides_what_all_views_have() -> None:
    shared = {each for each in dir(holdfast.View) if not each.startswith("__")} | {"message"}
    hidden = {(name, field) for name in viewed_messages() for field in class_named(name)._places if field in shared}
    assert hidden == {("Event", "message"), ("StatusUpdate", "message")}


def test_times_keep_their_nanoseconds() -> None:
    stored = Timestamp()
    stored.FromNanoseconds(NS)
    session = view_of(record_pb2.Session(id="s", start_time=stored))
    assert session.start_time == datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=datetime.UTC)
    assert session.start_time.utcoffset() == datetime.timedelta(0)
    assert session.time_ns("start_time") == NS and session.time_ns("end_time") is None and session.end_time is None
    session.start_time = session.start_time
    assert session.message.start_time.ToNanoseconds() == NS, "setting the time that was read must keep the nanoseconds"
    session.start_time += datetime.timedelta(seconds=1)
    assert session.time_ns("start_time") == (NS // 1000 + 1_000_000) * 1000


def test_reading_changes_no_message() -> None:
    message = a_task()
    before, view = message.SerializeToString(), view_of(message)
    assert (view.metadata, view.tags, view.assignees) == ({"b": [1, 2]}, ["a"], [])
    assert view.message is message and message.SerializeToString() == before, "the text of JSON stays as it was"


def test_changes_in_place_are_written() -> None:
    view = view_of(a_task())
    view.tags.append("b")
    view.metadata["b"][0] = True
    assert list(view.message.tags) == ["a", "b"] and view.message.metadata == '{"b":[true,2]}'
    view.metadata["b"] = {1}
    with pytest.raises(TypeError, match=r"task\.metadata: .*set"):
        _ = view.message
    view.metadata = None
    view.tags = ["z"]
    assert (view.tags, view.message.metadata, view.metadata) == (["z"], "", None)


def test_a_change_of_the_message_is_not_overwritten_by_what_was_read() -> None:
    view = view_of(a_task())
    assert view.tags == ["a"] and view.metadata == {"b": [1, 2]}
    view.message.tags.append("b")
    view.message.metadata = '{"c":1}'
    assert list(view.message.tags) == ["a", "b"] and view.message.metadata == '{"c":1}'


def test_lists_of_messages() -> None:
    state = views.TaskState(phases=[{"phase": "plan"}, record_pb2.PhaseState(phase="build"), views.PhaseState(phase="test")])
    plan, build, _ = state.phases
    plan.status = "running"
    assert [each.status for each in state.message.phases] == ["running", "", ""]
    state.phases.reverse()
    state.phases.append({"phase": "ship"})  # type: ignore[arg-type]
    del state.phases[0]
    assert [each.phase for each in state.message.phases] == ["build", "plan", "ship"]
    plan.status = "completed"
    assert state.message.phases[1].status == "completed" and state.phases[1] is plan and state.phases[0] is build
    initiative = views.Initiative(decisions=[plan_of := views.Decision(decision="yes")])
    initiative.decisions.append(plan_of)
    assert len(initiative.message.decisions) == 2


@pytest.mark.parametrize(
    ("name", "value", "error", "said"),
    [
        ("title", 3, TypeError, "task.title: expected str, not int"),
        ("tags", "a", TypeError, "task.tags: expected a list, not str"),
        ("metadata", {1}, TypeError, "task.metadata: "),
        ("create_time", datetime.datetime(2026, 1, 1), holdfast.InvalidArgument, "has no time zone"),
        ("titel", "x", AttributeError, "Task has no field 'titel'. Did you mean title?"),
        ("qqqq", "x", AttributeError, "Its fields are: id, version"),
    ],
)
def test_setting_is_checked_and_changes_nothing_on_an_error(name: str, value: object, error: type[Exception], said: str) -> None:
    view = view_of(a_task())
    with pytest.raises(error, match=said):
        setattr(view, name, value)
    assert view == a_task()


def test_unknown_fields_are_named_with_near_ones() -> None:
    view = view_of(a_task())
    with pytest.raises(AttributeError, match=r"Task has no field 'assignee'. Did you mean assignees\?"):
        _ = view.assignee
    assert not hasattr(view, "nosuch")
    with pytest.raises(AttributeError, match=r"no view 'Tsk'\. There are: Artifact"):
        _ = views.Tsk  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="title is not a time"):
        view.time_ns("title")
    with pytest.raises(TypeError, match="Task is a view of Task, not of Session"):
        views.Task(record_pb2.Session())


def test_equality_copies_and_pickles() -> None:
    view = view_of(a_task())
    view.metadata["x"] = 1
    same = view_of(a_task())
    assert view != same and same == a_task() and same != view_of(record_pb2.Session())
    for made in (copy.copy(view), copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert made == view and type(made) is type(view) and made.metadata == {"b": [1, 2], "x": 1}
        made.metadata["y"] = 2
        made.title = "other"
        assert "y" not in view.metadata and view.title == "Fix"
    with pytest.raises(TypeError, match="unhashable"):
        hash(view)


def test_forms_as_text() -> None:
    nasty = "\x1b[31m<script>\u202e\n" * 50
    view = views.Task(
        id="TASK-001", title=nasty, tags=[nasty] * 9, metadata={"k": nasty * 100}, description=nasty, priority="high"
    )
    shown = repr(view)
    assert shown.startswith("Task(id='TASK-001', title='\\x1b[31m<script>\\u202e\\n") and len(shown) <= 410
    assert shown.isprintable() and "status" not in shown
    page = view._repr_html_()
    assert page.count("<table>") == page.count("</table>") == 1 and "<script" not in page and "&lt;script&gt;" in page
    assert page.isprintable()


def test_dicts() -> None:
    view = views.TaskState(task_id="TASK-001", phases=[{"phase": "plan"}])
    assert dict(view) == view.to_dict() == holdfast.plain(view) == holdfast.plain(view.message)
    assert view["phases"] == [holdfast.plain(view.phases[0])] and {**view}["create_time"] is None
    with pytest.raises(KeyError):
        view["nosuch"]
    with pytest.raises(TypeError):
        iter(view)  # type: ignore[call-overload]
    assert holdfast.plain(views.PhaseOutput())["variable"] is None


def test_decoded_values_are_not_decoded_again() -> None:
    for value in ({"a": 1}, [1], 2.5, True, None, "main", "12"):
        view = views.Task(metadata=value)
        assert holdfast.json_value(view.metadata) == value and type(holdfast.json_value(view.metadata)) in (
            type(value),
            type(view.metadata),
        )
        assert views.Task(metadata=view.metadata) == view
    assert views.Task(metadata=holdfast.Json("null")).metadata is None


def test_entries_have_the_fields_of_their_journal() -> None:
    message = entry_pb2.Entry(number=7, parent_id="ses_1", transcript=entry_pb2.Transcript(role="prompt", metadata='{"a":1}'))
    entry = view_of(message)
    assert isinstance(entry, views.TranscriptEntry) and isinstance(entry, views.Entry)
    assert (entry.number, entry.parent_id, entry.role, entry.content, entry.time) == (7, "ses_1", "prompt", "", None)
    assert entry.metadata is entry.transcript.metadata and entry.transcript.role == "prompt" and entry.event is None
    entry.transcript.metadata["b"] = 2
    entry.transcript.content, entry.phase = "text", "plan"
    assert entry.transcript.message.metadata == '{"a":1,"b":2}' and entry.message.transcript.content == entry.content == "text"
    entry.transcript.metadata = [1]
    assert entry.metadata == [1] and entry.message.transcript.phase == "plan" and "transcript=" not in repr(entry)
    assert entry_of(entry) == message and entry_of(entry.transcript).transcript == message.transcript


def test_the_message_of_an_event_is_its_text() -> None:
    entry = view_of(entry_pb2.Entry(event=entry_pb2.Event(type="error", message="broken")))
    assert (entry.type, entry.message, entry.event.message, entry.duration_ms) == ("error", "broken", "broken", None)
    assert holdfast.message_of(entry).event.type == "error" and holdfast.message_of(entry.event).type == "error"


def test_audit_entries_read_as_before() -> None:
    audit = entry_pb2.Audit(actor="ann", kind="transcript", parent_kind="session", diff='{"a":1}')
    entry = view_of(entry_pb2.Entry(number=2, revision=9, parent_kind="transcript", audit=audit))
    assert (entry.number, entry.revision, entry.actor, entry.parent_kind, entry.diff) == (2, 9, "ann", "session", {"a": 1})
    assert holdfast.plain(entry) == dict(entry) == {"number": 2, "revision": 9, **holdfast.plain(audit)}
    assert not entry.HasField("peer_uid") and entry.peer_uid is None and entry.audit == audit


def test_changes_hold_records() -> None:
    change = view_of(store_service_pb2.Change(kind="task", record=record_pb2.Record(task=a_task())))
    assert change.record.task.title == "Fix" and change.record.session is None and change.record.WhichOneof("value") == "task"
    change.record.task.tags.append("b")
    assert list(change.message.record.task.tags) == ["a", "b"] and view_of(store_service_pb2.Change()).record is None
    with pytest.raises(AttributeError, match="cannot be set"):
        change.record = None


def test_a_json_value_with_lone_surrogates_stays_as_it_was_read() -> None:
    text = json.dumps({"output": "a\ud800b"})
    entry = view_of(entry_pb2.Entry(event=entry_pb2.Event(data=text)))
    assert entry.data == {"output": "a\ud800b"}
    assert message_of(entry).event.data == text
    entry.data["more"] = 1
    with pytest.raises(holdfast.InvalidArgument, match="lone surrogate"):
        message_of(entry)
