"""The few expressions that SQLite and PostgreSQL spell differently, in SQLite's spelling. `conditions.py` calls this.

Nothing that a caller wrote is in the text of what is made here: paths and values are parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from holdfastd.model.filters import LiteralKind

Parameter = str | int | float | None


@dataclass(frozen=True, slots=True)
class Where:
    """A condition and the values of its question marks, in their order. Empty text: no condition."""

    sql: str
    parameters: tuple[Parameter, ...] = ()


_JSON_TYPES = {
    LiteralKind.TEXT: "= 'text'",
    LiteralKind.INTEGER: "IN ('integer', 'real')",
    LiteralKind.REAL: "IN ('integer', 'real')",
    LiteralKind.NULL: "= 'null'",
}


def contains(text: str, parameter: str) -> Where:
    """Whether a text holds another; no character is a wildcard."""
    return Where(f"instr({text}, ?) > 0", (parameter,))


def json_present(column: str, keys: Sequence[str]) -> Where:
    """Whether the keys lead to anything, null too."""
    return Where(f"json_type({_document(column)}, ?) IS NOT NULL", (_path(keys),))


def json_compares(column: str, keys: Sequence[str], operator: str, kind: LiteralKind, operand: Parameter) -> Where:
    """Whether the keys lead to a value of the literal's type that compares so."""
    found = _typed(f"json_type({_document(column)}, ?)", kind, operand)
    if kind in (LiteralKind.NULL, LiteralKind.BOOLEAN):
        return Where(found, (_path(keys),))
    path = _path(keys)
    return Where(f"({found} AND json_extract({_document(column)}, ?) {operator} ?)", (path, path, operand))


def json_array_has(column: str, keys: Sequence[str], kind: LiteralKind, operand: Parameter) -> Where:
    """Whether the keys lead to an array with that element."""
    document, path = _document(column), _path(keys)
    same = _typed("element.type", kind, operand)
    parameters: tuple[Parameter, ...] = (path, path)
    if kind not in (LiteralKind.NULL, LiteralKind.BOOLEAN):
        same, parameters = f"{same} AND element.value = ?", (path, path, operand)
    elements = f"SELECT 1 FROM json_each({document}, ?) AS element WHERE {same}"
    return Where(f"(json_type({document}, ?) = 'array' AND EXISTS ({elements}))", parameters)


def json_text_contains(column: str, keys: Sequence[str], operand: str) -> Where:
    """Whether the keys lead to a string that holds another."""
    document, path = _document(column), _path(keys)
    inside = contains(f"json_extract({document}, ?)", operand)
    return Where(f"(json_type({document}, ?) = 'text' AND {inside.sql})", (path, path, operand))


def order_term(column: str, *, descending: bool, nullable: bool) -> str:
    """A term of ORDER BY: NULLs first going up, last going down, as SQLite has them anyway."""
    direction = "DESC" if descending else "ASC"
    if not nullable:
        return f"{column} {direction}"
    return f"{column} {direction} NULLS {'LAST' if descending else 'FIRST'}"


def _document(column: str) -> str:
    # A damaged document matches nothing; without the guard it would fail the whole list.
    return f"CASE WHEN json_valid({column}) THEN {column} END"


def _path(keys: Sequence[str]) -> str:
    # https://sqlite.org/json1.html#path_arguments: a quoted label is compared as a JSON string, escapes and all.
    return "$" + "".join("." + json.dumps(key, ensure_ascii=False) for key in keys)


def _typed(json_type: str, kind: LiteralKind, operand: Parameter) -> str:
    if kind is LiteralKind.BOOLEAN:
        return f"{json_type} = '{'true' if operand else 'false'}'"
    return f"{json_type} {_JSON_TYPES[kind]}"


def walked(column: str) -> str:
    """A column in a form that enters no index, so that rows are walked in the statement's order and not sorted for it.

    Without statistics SQLite takes an equality to leave ten rows (https://sqlite.org/optoverview.html#uplus).
    """
    return f"+{column}"


def any_of(parameter: str) -> str:
    """Whether the expression before it is one of a list of strings, given as one parameter: a JSON array."""
    return f"IN (SELECT value FROM json_each({parameter}))"
