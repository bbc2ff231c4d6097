"""The dialect of SQLite: json1, instr, and the planner's hints."""

from __future__ import annotations

import json
from collections.abc import Sequence

from holdfastd.model.filters import LiteralKind
from holdfastd.store.dialect import Parameter, Where

_JSON_TYPES = {
    LiteralKind.TEXT: "= 'text'",
    LiteralKind.INTEGER: "IN ('integer', 'real')",
    LiteralKind.REAL: "IN ('integer', 'real')",
    LiteralKind.NULL: "= 'null'",
}


class SqliteDialect:
    """Implements `Dialect`."""

    def contains(self, text: str, parameter: str) -> Where:
        return Where(f"instr({text}, ?) > 0", (parameter,))

    def any_of(self, column: str, values: Sequence[str]) -> Where:
        return Where(f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(values),))

    def walked(self, column: str) -> str:
        # Without statistics SQLite assumes that an equality matches ten rows, and would use its index. The unary plus disables
        # that (https://sqlite.org/optoverview.html#uplus).
        return f"+{column}"

    def in_table_order(self, table: str) -> str:
        return f"{table} NOT INDEXED"

    def json_present(self, column: str, keys: Sequence[str]) -> Where:
        return Where(f"json_type({_document(column)}, ?) IS NOT NULL", (_path(keys),))

    def json_compares(self, column: str, keys: Sequence[str], operator: str, kind: LiteralKind, operand: Parameter) -> Where:
        found = _typed(f"json_type({_document(column)}, ?)", kind, operand)
        if kind in (LiteralKind.NULL, LiteralKind.BOOLEAN):
            return Where(found, (_path(keys),))
        path = _path(keys)
        return Where(f"({found} AND json_extract({_document(column)}, ?) {operator} ?)", (path, path, operand))

    def json_array_has(self, column: str, keys: Sequence[str], kind: LiteralKind, operand: Parameter) -> Where:
        document, path = _document(column), _path(keys)
        same = _typed("element.type", kind, operand)
        parameters: tuple[Parameter, ...] = (path, path)
        if kind not in (LiteralKind.NULL, LiteralKind.BOOLEAN):
            same, parameters = f"{same} AND element.value = ?", (path, path, operand)
        elements = f"SELECT 1 FROM json_each({document}, ?) AS element WHERE {same}"
        return Where(f"(json_type({document}, ?) = 'array' AND EXISTS ({elements}))", parameters)

    def json_text_contains(self, column: str, keys: Sequence[str], operand: str) -> Where:
        document, path = _document(column), _path(keys)
        inside = self.contains(f"json_extract({document}, ?)", operand)
        return Where(f"(json_type({document}, ?) = 'text' AND {inside.sql})", (path, path, operand))


SQLITE = SqliteDialect()


def _document(column: str) -> str:
    # A damaged document matches nothing; without this test it would fail the whole list.
    return f"CASE WHEN json_valid({column}) THEN {column} END"


def _path(keys: Sequence[str]) -> str:
    # https://sqlite.org/json1.html#path_arguments: a quoted label is compared as a JSON string, escapes and all.
    return "$" + "".join("." + json.dumps(key, ensure_ascii=False) for key in keys)


def _typed(json_type: str, kind: LiteralKind, operand: Parameter) -> str:
    if kind is LiteralKind.BOOLEAN:
        return f"{json_type} = '{'true' if operand else 'false'}'"
    return f"{json_type} {_JSON_TYPES[kind]}"
