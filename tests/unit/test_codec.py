"""Messages of every kind and journal survive the round trip through the tables of a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.contract.kinds import JOURNALS, KINDS, FieldType, Journal, Kind, Shape
from holdfast.v1 import entry_pb2, journal_service_pb2, record_pb2
from holdfastd.errors import InvalidArgument
from holdfastd.model import codec, entry_blobs
from holdfastd.model.checking import check_record, check_values
from holdfastd.model.entries import create_time, entry_codec
from holdfastd.model.entry_images import EntryImages
from holdfastd.store import loading, records
from holdfastd.store.sql import child_sql, kind_sql
from holdfastd.store.sqlite.connection import Connection
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate
from tests.support.messages import json_texts, json_values, messages, texts, times_ns

STORED = [each for each in JOURNALS.values() if not each.derived]
ALL: list[Shape] = [*KINDS.values(), *STORED]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    directory = tmp_path_factory.mktemp("codec")
    opened = Database(directory / "holdfast.db").open_writer()
    migrate(opened, directory / "snapshots")
    opened.execute("PRAGMA foreign_keys = OFF")
    opened.execute("PRAGMA synchronous = OFF")
    yield opened
    opened.close()


def drop_zeroes(shape: Shape, message: Any) -> Any:
    """Clears empty fields that are stored as NULL, because they are read back unset."""
    for field in shape.columns:
        if field.optional and not field.keeps_empty and getattr(message, field.name) == "":
            message.ClearField(field.name)
    return message


def choose_values(shape: Shape, message: Any) -> None:
    """Sets the unset fields with listed values, in the message and in its lists: their columns refuse an empty text."""
    for field in shape.fields:
        if field.member is not None:
            for each in getattr(message, field.name):
                choose_values(field.member, each)
        elif field.values and not (field.nullable or field.repeated or getattr(message, field.name)):
            setattr(message, field.name, field.values[0])


@pytest.mark.parametrize("shape", ALL, ids=lambda shape: shape.name)
@given(data=st.data())
def test_a_row_is_the_message_again(shape: Shape, data: st.DataObject) -> None:
    message = data.draw(messages(shape))
    check_values(shape, message)
    again = codec.from_row(shape, codec.to_row(shape, message))
    for field in shape.children:
        getattr(again, field.name).extend(getattr(message, field.name))
    assert again == drop_zeroes(shape, message)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
@settings(deadline=None)  # the first example of a kind prepares its statements
@given(data=st.data())
def test_every_kind_goes_through_its_tables(kind: Kind, connection: Connection, data: st.DataObject) -> None:
    message = data.draw(messages(kind, whole=True))
    message.id = "x"
    for name in ("create_time", "update_time"):
        codec.set_time(getattr(message, name), codec.time_ns(getattr(message, name)))
    check_values(kind, message)
    connection.execute("SAVEPOINT example")
    try:
        choose_values(kind, message)
        connection.execute(kind_sql(kind).insert, ("w", *codec.to_row(kind, message), None, None, 0))
        for field in kind.children:
            rows = [("w", "x", ordinal, *row) for ordinal, row in enumerate(codec.child_rows(field, message))]
            connection.insert_rows(child_sql(kind, field).table, child_sql(kind, field).columns, rows)
        assert records.from_columns(connection, kind, "w", "x") == message
        assert loading.load(connection, kind, "w", "x") == message  # without an image the columns are read
    finally:
        connection.execute("ROLLBACK TO example")
        connection.execute("RELEASE example")


def test_a_zero_has_no_sign() -> None:
    """SQLite returns -0.0 as 0.0, so a stored -0.0 would differ from the record's image."""
    message = record_pb2.Pattern(confidence=-0.0)
    check_values(KINDS["pattern"], message)
    assert message == record_pb2.Pattern()


@pytest.mark.parametrize("journal", STORED, ids=lambda journal: journal.name)
@given(data=st.data(), stamp=times_ns)
@example(data=None, stamp=0)
def test_the_quick_way_of_entries_is_the_same_as_the_plain_one(journal: Journal, data: st.DataObject | None, stamp: int) -> None:
    message = journal.message_class() if data is None else data.draw(messages(journal))
    for field in journal.own_columns:
        if field.type is FieldType.TIME and data is None:
            codec.set_time(getattr(message, field.name), stamp)
        if field.required:
            setattr(message, field.name, getattr(message, field.name) or "r")
    *row, value = entry_codec(journal).row(message)
    check_values(journal, message)
    row += entry_blobs.defaults(journal)
    assert dict(zip([*journal.own_columns, *journal.blob_columns], row, strict=True)) == dict(
        zip(journal.columns, codec.to_row(journal, message), strict=True)
    )
    response = journal_service_pb2.JournalServiceReadResponse()
    entry = entry_codec(journal).add(response.entries, 3, 4, create_time(stamp), row)
    assert EntryImages(journal, 4, stamp).image(3, value) == entry.SerializeToString(deterministic=True)
    assert getattr(entry, journal.name) == message
    assert (entry.number, entry.revision, codec.time_ns(entry.create_time)) == (3, 4, stamp)


@given(times_ns)
def test_times_keep_their_nanoseconds(ns: int) -> None:
    message = record_pb2.Session()
    codec.set_time(message.start_time, ns)
    assert 0 <= message.start_time.nanos < 10**9
    assert codec.time_ns(message.start_time) == ns
    check_values(KINDS["session"], message)


@given(json_values, json_texts)
def test_json_is_brought_into_one_form_that_means_the_same(value: Any, other: str) -> None:
    text = codec.canonical_json(json.dumps(value), "metadata")
    assert json.loads(text) == value
    assert json.loads(text, parse_float=str) == json.loads(json.dumps(value), parse_float=str)  # numbers are not rounded twice
    assert codec.canonical_json(text, "metadata") == text
    assert codec.canonical_json(json.dumps(value, indent=3), "metadata") == text
    assert text.encode().decode() == text
    assert json.loads(codec.canonical_json(other, "metadata")) == json.loads(other)


def test_json_is_sorted_compact_and_exact() -> None:
    text = '{ "b": [1, 1.0, 18446744073709551617], "a": "\\u00e9\\ud83d\\ude00", "é": null }'
    assert codec.canonical_json(text, "metadata") == '{"a":"é😀","b":[1,1.0,18446744073709551617],"é":null}'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "nothing",
        "NaN",
        "[Infinity]",
        "[-Infinity]",
        "1e400",
        "[-1e999]",
        '"\\ud800"',
        '{"\\udc00": 1}',
        "[" * 100_000,
        '"\t"',
        '"a\\u0000b"',
        '{"\\u0000": 1}',
        '"\\\\\\u0000"',
        "9" * 5000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_not_json_or_cannot_be_text_is_refused_with_the_field(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        codec.canonical_json(text, "metadata")
    assert caught.value.reason == "VALUE_INVALID"
    assert caught.value.metadata["field"] == "metadata"
    assert "metadata" in caught.value.message


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert codec.canonical_json('"\\\\u0000"', "metadata") == '"\\\\u0000"'


@given(texts)
def test_any_text_but_nul_is_accepted(text: str) -> None:
    check_record(KINDS["task"], record_pb2.Task(title=text))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="NUL"):
        check_record(KINDS["task"], record_pb2.Task(title=text + "\0"))  # type: ignore[arg-type]


def test_json_that_grows_when_it_is_brought_into_form_still_has_to_fit() -> None:
    """`1e15` has four bytes; its canonical form `1000000000000000.0` has 18."""
    task = record_pb2.Task(title="t", metadata="[" + ",".join(["1e15"] * 300_000) + "]")
    assert task.ByteSize() < 2 * 2**20
    with pytest.raises(InvalidArgument) as caught:
        check_record(KINDS["task"], task)  # type: ignore[arg-type]
    assert caught.value.reason == "TOO_LARGE"
    entry = record_pb2.Task(metadata="[" + ",".join(["1e15"] * 200_000) + "]")
    with pytest.raises(InvalidArgument) as caught:
        entry_codec(JOURNALS["transcript"]).row(entry_pb2.Transcript(role="r", metadata=entry.metadata))
    assert caught.value.reason == "TOO_LARGE"
