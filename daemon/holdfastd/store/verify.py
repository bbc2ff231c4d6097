"""Consistency checks of the rows. They hold in every store at any time; verify runs them, and the crash tests rely on them.

Each check runs in its own snapshot, yields the problems that it finds, and changes nothing. It holds one row at a time, or a
bounded number of small ones: CHECK_BYTES at most. The checks of blobs are in `blob_checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from holdfast.contract.kinds import KINDS, STORED_JOURNALS, Kind, RecordMessage
from holdfastd.model.mutations import APPEND, DELETE, INSERT, NOTE
from holdfastd.model.ordering import place_sql
from holdfastd.store import records
from holdfastd.store.engine import Connection
from holdfastd.store.sql import kind_sql, quoted

MAX_FOUND = 100  # problems reported by one query
# What a check holds of the largest records: the row, the record from its columns, the image, and the messages of both.
CHECK_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: its type (`reason`), the row or record (`subject`), and what was found (`detail`)."""

    reason: str
    subject: str
    detail: str


TableCheck = Callable[[Connection], Iterator[Problem]]


def database(connection: Connection) -> Iterator[Problem]:
    """The faults that the engine's own checks find."""
    for fault in connection.engine.check(connection):
        yield Problem(*fault)


def revisions(connection: Connection) -> Iterator[Problem]:
    """Checks that revisions are 1, 2, 3 … and that each has changes."""
    low, high, count = connection.execute("SELECT COALESCE(MIN(revision), 1), MAX(revision), COUNT(*) FROM commits").fetchone()
    if count and (low != 1 or high != count):
        yield Problem("revision_gap", "commits", f"{count} commits between revision {low} and {high}")
    yield from _rows(
        connection,
        "revision_empty",
        "SELECT revision, 'a commit without changes' FROM commits WHERE NOT EXISTS"
        " (SELECT 1 FROM changes WHERE changes.revision = commits.revision)",
    )
    yield from _rows(
        connection,
        "revision_gap",
        "SELECT revision, COUNT(*) || ' changes, the last one is ' || MAX(ordinal) FROM changes"
        " GROUP BY revision HAVING MAX(ordinal) + 1 <> COUNT(*)",
    )
    yield from _rows(
        connection,
        "revision_unknown",
        "SELECT DISTINCT revision, 'changes without a commit' FROM changes WHERE NOT EXISTS"
        " (SELECT 1 FROM commits WHERE commits.revision = changes.revision)",
    )


def journals(connection: Connection) -> Iterator[Problem]:
    """Checks that entries are numbered without gaps, and that every append in the history has its entries."""
    for name in STORED_JOURNALS:
        table = quoted(name)
        yield from _rows(
            connection,
            "journal_gap",
            "SELECT journal.parent_kind || '/' || journal.parent_id,"
            " 'entries ' || MIN(number) || ' to ' || MAX(number) || ': ' || COUNT(*)"
            " || ' of them, the first should be ' || first_number"
            f" FROM journal JOIN {table} AS entry ON entry.journal_id = journal.journal_id GROUP BY journal.journal_id"
            " HAVING MIN(number) <> first_number OR MAX(number) - MIN(number) + 1 <> COUNT(*)",
        )
        yield from _rows(
            connection,
            "journal_short",
            "SELECT journal.parent_kind || '/' || journal.parent_id, 'the history has entry ' || MAX(changes.last_number)"
            f" || ', the last one is ' || COALESCE((SELECT MAX(number) FROM {table} WHERE journal_id = journal.journal_id), 0)"
            " FROM changes JOIN journal ON journal.workspace = changes.workspace AND journal.journal = changes.kind"
            " AND journal.parent_kind = changes.parent_kind AND journal.parent_id = changes.id"
            f" WHERE changes.kind = '{name}' AND changes.action = {APPEND} AND changes.revision > COALESCE((SELECT MAX(revision)"
            " FROM changes AS gone WHERE gone.workspace = changes.workspace AND gone.kind = changes.kind"
            f" AND gone.id = changes.id AND gone.action <> {APPEND}), 0) GROUP BY journal.journal_id"
            f" HAVING MAX(changes.last_number) <> COALESCE((SELECT MAX(number) FROM {table}"
            " WHERE journal_id = journal.journal_id), 0)",
        )


def images(kind: Kind) -> TableCheck:
    """The check that each record of a kind equals its newest change, in columns and image, and that deleted records are gone."""

    def check(connection: Connection) -> Iterator[Problem]:
        newest = (
            "SELECT workspace, id, action, image FROM changes AS change WHERE kind = ? AND (revision, ordinal) ="
            " (SELECT revision, ordinal FROM changes AS later WHERE later.workspace = change.workspace"
            f" AND later.kind = change.kind AND later.id = change.id AND later.action <> {NOTE}"
            " ORDER BY revision DESC, ordinal DESC LIMIT 1)"
        )
        seen = 0
        for workspace, id, action, image in connection.execute(newest, (kind.name,)):  # row by row: they are all of a kind
            reason, detail = _held_against(connection, kind, workspace, id, action, image)
            seen += records.exists(connection, kind, workspace, id)
            if reason:
                yield Problem(reason, f"{kind.name}/{id}", f"{detail}in workspace {workspace}")
        (count,) = connection.execute(f"SELECT COUNT(*) FROM {quoted(kind.name)}").fetchone()
        if count != seen:
            yield Problem("record_without_history", kind.name, f"{count - seen} records without a change in the history")
        yield from _rows(connection, "record_misplaced", misplaced_sql(kind))

    return check


def misplaced_sql(kind: Kind) -> str:
    """The records whose `made` is not the place of their insert. A record without an insert in the history may have any."""
    insert = (
        f"SELECT {place_sql('change')} FROM changes AS change WHERE change.workspace = one.workspace"
        f" AND change.kind = '{kind.name}' AND change.id = one.id AND change.action = {INSERT}"
        " ORDER BY change.revision DESC, change.ordinal DESC LIMIT 1"
    )
    return (
        f"SELECT '{kind.name}/' || id, 'lists place it at ' || COALESCE(CAST(made AS TEXT), 'NULL')"
        " || ', its insert is at ' || place"
        f" FROM (SELECT one.id AS id, one.made AS made, ({insert}) AS place FROM {quoted(kind.name)} AS one) AS placed"
        " WHERE place IS NOT NULL AND (made = place) IS NOT TRUE"
    )


def _held_against(connection: Connection, kind: Kind, workspace: str, id: str, action: int, image: bytes) -> tuple[str, str]:
    """Compares a record with its newest change. Returns reason and detail of the problem; empty strings when there is none."""
    try:
        record = records.from_columns(connection, kind, workspace, id)
    except (TypeError, ValueError) as error:
        return "record_damaged", f"{error}, "
    if (record is None) != (action == DELETE):
        return "record_missing" if record is None else "record_undead", ""
    try:
        newest = kind.message_class.FromString(image)
    except DecodeError:
        return "history_damaged", "the newest change cannot be read, "
    if record is not None and record != newest and record != _read_without_image(connection, kind, workspace, newest, record):
        return "record_differs", f"version {record.version} differs from its newest change, "
    if record is not None and not _image_agrees(connection, kind, workspace, id, (image, record.SerializeToString())):
        return "image_differs", f"the image of version {record.version} differs from its newest change, "
    return "", ""


def _read_without_image(
    connection: Connection, kind: Kind, workspace: str, newest: RecordMessage, record: RecordMessage
) -> RecordMessage:
    """The newest change as a row without an image has it: zero where a field was not optional yet when it was written, and with
    what the migration let the record inherit.
    """
    (image, _) = connection.execute(kind_sql(kind).image, (workspace, newest.id)).fetchone() or (b"", None)
    found = type(newest)()
    found.CopyFrom(newest)
    for field in kind.columns:
        if image is None and field.optional_since and not newest.HasField(field.name):
            setattr(found, field.name, getattr(newest, field.name))
        if image is None and field.inherits_from and not getattr(newest, field.name):
            setattr(found, field.name, getattr(record, field.name))
    return found


def _image_agrees(connection: Connection, kind: Kind, workspace: str, id: str, expected: tuple[bytes, bytes]) -> bool:
    try:
        return records.image(connection, kind, workspace, id) in expected
    except ValueError:
        return False


def links(connection: Connection) -> Iterator[Problem]:
    """Checks that the references whose kind is in another field name existing records; they have no foreign key."""
    for kind in KINDS.values():
        for field in kind.references:
            assert field.reference is not None
            if field.reference.kind_field:
                yield from _loose_ends(connection, kind, field.reference.kind_field, field.name)


def _loose_ends(connection: Connection, kind: Kind, kind_field: str, field: str) -> Iterator[Problem]:
    for target in KINDS.values():
        yield from _rows(
            connection,
            "reference_dangling",
            f"SELECT '{kind.name}/' || one.id, '{field} refers to the missing {target.name} ' || one.{quoted(field)}"
            f" FROM {quoted(kind.name)} AS one"
            f" LEFT JOIN {quoted(target.name)} AS other ON other.workspace = one.workspace AND other.id = one.{quoted(field)}"
            f" WHERE one.{quoted(kind_field)} = '{target.name}' AND other.id IS NULL",
        )


def _rows(connection: Connection, reason: str, sql: str) -> Iterator[Problem]:
    for subject, detail in connection.execute(sql).fetchmany(MAX_FOUND):
        yield Problem(reason, str(subject), str(detail))
