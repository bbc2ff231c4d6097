"""Records that name another of their kind by its number, such as a workflow's version its parent (`number_of`).

`store/commits.py` and `store/deletes.py` call this in the writer's transaction.
"""

from __future__ import annotations

from holdfast.contract.kinds import Kind, RecordMessage
from holdfastd.errors import FailedPrecondition, InvalidArgument
from holdfastd.store.engine import Connection
from holdfastd.store.sql import numbered_sql


def check(connection: Connection, workspace: str, kind: Kind, message: RecordMessage) -> None:
    """FAILED_PRECONDITION (PARENT_NOT_FOUND) when a new record names a number that no record has."""
    if (field := kind.lineage) is None or not (number := getattr(message, field.name)):
        return
    owner = getattr(message, kind.by_name[field.number_of].number_within)
    if connection.execute(numbered_sql(kind, field.number_of), (workspace, owner, number)).fetchone() is None:
        raise FailedPrecondition(
            f"{field.name} names {field.number_of} {number} of {owner}, which does not exist in workspace {workspace}."
            " Name one that exists, or 0 for none.",
            reason="PARENT_NOT_FOUND",
            field=field.name,
            kind=kind.name,
            id=str(number),
        )


def check_order(kind: Kind, message: RecordMessage) -> None:
    """INVALID_ARGUMENT when a record names its own number or a later one. A load may name one that the store does not have."""
    if (field := kind.lineage) is not None and (parent := getattr(message, field.name)) >= getattr(message, field.number_of) > 0:
        raise InvalidArgument(
            f"{field.name} is {parent}; it must be less than the record's own {field.number_of}, or 0 for none.",
            reason="VALUE_INVALID",
            field=field.name,
        )


def descendants(connection: Connection, workspace: str, kind: Kind, message: RecordMessage) -> list[str]:
    """The ids of the records that name this one by its number."""
    if (field := kind.lineage) is None:
        return []
    number, owner = getattr(message, field.number_of), getattr(message, kind.by_name[field.number_of].number_within)
    rows = connection.execute(numbered_sql(kind, field.name), (workspace, owner, number)) if number else ()
    return sorted(row[0] for row in rows)
