"""The values that a status may have in a workspace: those of the workspace's vocabulary for it, or those of the contract.

A vocabulary is a record of the kind `vocabulary`. The writer checks each record with such a field against it, and refuses to take
values out of it that a record has. It keeps the vocabularies that it has read (`Vocabularies`) until one is written or a command
is rolled back. Each value has a meaning: open, active, done or failed. The filters `ready` and `done` read the meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from holdfast.contract.kinds import KINDS, Field, Kind, RecordMessage
from holdfastd.errors import FailedPrecondition, InvalidArgument
from holdfastd.model.filter_tokens import quoted as quoted_text
from holdfastd.model.filter_tokens import refuse
from holdfastd.model.filters import Comparison, Node, Operator, comparisons
from holdfastd.store.dialect import Where
from holdfastd.store.engine import Connection
from holdfastd.store.sql import quoted

VOCABULARY = "vocabulary"
DONE = "done"
MAX_TERMS, MAX_KNOWN = 200, 10_000

_TERMS = "SELECT value, meaning FROM vocabulary_terms WHERE workspace = ? AND id = ? ORDER BY ordinal"

Meanings = Mapping[str, str]  # value → meaning


class Vocabularies(dict[tuple[str, str], Meanings]):
    """The vocabularies that the writer has read, by workspace and id; empty for one that the workspace does not have."""

    def of(self, connection: Connection, workspace: str, id: str) -> Meanings:
        """The workspace's own vocabulary of this id; empty when it has none."""
        found = self.get((workspace, id))
        if found is None:
            if len(self) >= MAX_KNOWN:
                self.clear()
            found = self[workspace, id] = dict(connection.execute(_TERMS, (workspace, id)).fetchall())
        return found


def prepare(known: Vocabularies, connection: Connection, workspace: str, kind: Kind, message: RecordMessage) -> None:
    """Settles the statuses of a record that is about to be inserted or updated; checks it when it is a vocabulary.

    Call it before `set_defaults`. INVALID_ARGUMENT for a value that is not in the vocabulary, and for a vocabulary without
    terms. FAILED_PRECONDITION (VOCABULARY_IN_USE) when a record has a value that is no longer there.
    """
    for field in kind.vocabularies:
        _settle(known, connection, workspace, (kind.name, field), message)
    if kind.name == VOCABULARY:
        _check_terms(message)
        _replace(known, connection, workspace, message, [each.value for each in _terms(message)])


def before_delete(known: Vocabularies, connection: Connection, workspace: str, kind: Kind, message: RecordMessage) -> None:
    """As `prepare`, for a record that is about to be deleted: after a vocabulary, the values of the contract apply again."""
    if kind.name == VOCABULARY:
        _replace(known, connection, workspace, message, list(_field_of(message).vocabulary))


def _settle(
    known: Vocabularies, connection: Connection, workspace: str, place: tuple[str, Field], message: RecordMessage
) -> None:
    kind, field = place
    own = known.of(connection, workspace, f"{kind}.{field.name}")
    value = getattr(message, field.name)
    if own and not value:
        setattr(message, field.name, next(iter(own)))
    elif value and value not in (own or field.vocabulary):
        raise InvalidArgument(
            f"{field.name} {value[:40]!r} is not one of: {', '.join(own or field.vocabulary)}. The vocabulary"
            f" {kind}.{field.name} of workspace {workspace} can have other values.",
            reason="VALUE_INVALID",
            field=field.name,
        )


def _terms(message: Any) -> list[Any]:
    return list(message.terms)


def _check_terms(message: RecordMessage) -> None:
    if not 0 < len(_terms(message)) <= MAX_TERMS:
        raise InvalidArgument(f"A vocabulary has 1 to {MAX_TERMS} terms.", reason="VALUE_INVALID", field="terms")


def _field_of(message: Any) -> Field:
    """The field that a vocabulary is for."""
    return KINDS[message.record_kind].by_name[message.field]


def _replace(known: Vocabularies, connection: Connection, workspace: str, message: Any, values: list[str]) -> None:
    kind, field = message.record_kind, _field_of(message)
    id = f"{kind}.{field.name}"
    for gone in known.of(connection, workspace, id) or field.vocabulary:
        if gone not in values:
            _refuse_use(connection, workspace, kind, field, gone)
    del known[workspace, id]


def _refuse_use(connection: Connection, workspace: str, kind: str, field: Field, gone: str) -> None:
    row = connection.execute(
        f"SELECT id FROM {quoted(kind)} WHERE workspace = ? AND {quoted(field.name)} = ? LIMIT 1", (workspace, gone)
    ).fetchone()
    if row is not None:
        raise FailedPrecondition(
            f"{kind} {row[0]} has the {field.name} {gone!r}, so the vocabulary {kind}.{field.name} must have that value. Change"
            f" the records with {field.name} = {gone!r} first.",
            reason="VOCABULARY_IN_USE",
            kind=kind,
            id=row[0],
            value=gone,
        )


def check_filter(connection: Connection, workspace: str, kind: Kind, node: Node | None) -> None:
    """INVALID_ARGUMENT (FILTER_INVALID) when a filter compares a status with a value that no record of the workspace can have.

    `!=` also takes the values of the contract where the workspace has others: that leaves out what is not there.
    """
    for field, each in _compared(kind.name, node) if kind.vocabularies and node is not None else ():
        own = dict(connection.execute(_TERMS, (workspace, f"{kind.name}.{field.name}")).fetchall())
        known, value = own or field.vocabulary, each.literal.value
        if value not in known and not (each.operator is Operator.NOT_EQUAL and value in field.vocabulary):
            refuse(
                f"{field.name} is never {quoted_text(str(value))}. Its values in workspace {workspace} are: {', '.join(known)}."
                f" The vocabulary {kind.name}.{field.name} can have others.",
                each.literal.position,
            )


@lru_cache(maxsize=128)
def _compared(kind: str, node: Node) -> tuple[tuple[Field, Comparison], ...]:
    """The comparisons by `=` and `!=` of fields with a vocabulary. Empty text stands for an unset field."""
    fields = {each.name: each for each in KINDS[kind].vocabularies}
    return tuple(
        (fields[each.path[0]], each)
        for each in comparisons(node)
        if each.path[0] in fields and each.operator in (Operator.EQUAL, Operator.NOT_EQUAL) and each.literal.value
    )


def is_done(field: Field, kind: str, alias: str) -> Where:
    """The condition that the value of this field of a row means that it is done.

    A workspace's own vocabulary decides, else that of the contract.
    """
    row, id = quoted(alias), f"{kind}.{field.name}"
    value = f"{row}.{quoted(field.name)}"
    done = [each for each, meaning in field.vocabulary.items() if meaning == DONE]
    return Where(
        f"CASE WHEN EXISTS (SELECT 1 FROM vocabulary AS own WHERE own.workspace = {row}.workspace AND own.id = ?)"
        f" THEN EXISTS (SELECT 1 FROM vocabulary_terms AS term WHERE term.workspace = {row}.workspace AND term.id = ?"
        f" AND term.value = {value} AND term.meaning = ?)"
        f" ELSE {value} IN ({', '.join('?' * len(done))}) END",
        (id, id, DONE, *done),
    )
