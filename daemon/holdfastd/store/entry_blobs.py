"""The blobs that entries name: completes their rows, refers to the blobs, and drops the references with the journal.

A reference of an entry is a row of `blob_reference`, as that of a record: `kind` is the journal's name, `id` is
`{parent kind}/{parent id}/{number}`. `store/journals.py` calls these functions in the transaction of the append or delete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.contract.kinds import Journal
from holdfastd.model import entry_blobs
from holdfastd.model.mutations import Append
from holdfastd.store import blobs
from holdfastd.store.engine import Connection
from holdfastd.store.journal_heads import JournalKey
from holdfastd.store.sql import quoted

# The id of an entry's references, in SQL; `e` is the journal's table.
REFERENCE_ID = "j.parent_kind || '/' || j.parent_id || '/' || e.number"


def completed(connection: Connection, mutation: Append) -> list[Sequence[Any]]:
    """The rows of an append, each with the values of the journal's `blob_columns` before the encoded message.

    Sets the sizes of the blobs. FAILED_PRECONDITION (BLOB_NOT_FOUND) when one does not exist; nothing has been written then.
    """
    blank = entry_blobs.defaults(mutation.journal)
    rows: list[Sequence[Any]] = [(*columns, *blank, value) for *columns, value in mutation.rows]
    for place in mutation.blobs:
        *columns, value = mutation.rows[place]
        message = mutation.journal.message_class.FromString(value)
        for field in mutation.journal.blobs:
            if digest := getattr(message, field.name):
                setattr(message, field.size_field, blobs.size_bytes(connection, digest))
        rows[place] = (*columns, *entry_blobs.columns(mutation.journal, message), message.SerializeToString())
    return rows


def refer(connection: Connection, key: JournalKey, first: int, mutation: Append) -> None:
    """Adds the references of the entries, the first of which has the number `first`."""
    workspace, name, *parent = key
    for place in mutation.blobs:
        message = mutation.journal.message_class.FromString(mutation.rows[place][-1])
        for field in mutation.journal.blobs:
            if digest := getattr(message, field.name):
                blobs.reference(connection, digest, workspace, name, _reference_id(parent, first + place), field.name)


def release(connection: Connection, journal: Journal, key: JournalKey, journal_id: int) -> None:
    """Drops the references of all entries of a journal, before its entries are deleted."""
    if not journal.blobs:
        return
    workspace, name, *parent = key
    named = " OR ".join(f"{quoted(field.name)} IS NOT NULL" for field in journal.blobs)
    sql = f"SELECT number FROM {quoted(journal.name)} WHERE journal_id = ? AND ({named})"
    for (number,) in connection.execute(sql, (journal_id,)).fetchall():
        blobs.unreference_all(connection, workspace, name, _reference_id(parent, number))


def _reference_id(parent: Sequence[str], number: int) -> str:
    kind, id = parent
    return f"{kind}/{id}/{number}"
