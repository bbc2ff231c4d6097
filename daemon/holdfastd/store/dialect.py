"""The SQL expressions that differ between engines. A connection has the dialect of its engine.

All other SQL of `store/` is the same for every engine: `?` for each value, names from the registry in double quotes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfastd.model.filters import LiteralKind

Parameter = str | int | float | None


@dataclass(frozen=True, slots=True)
class Where:
    """A condition and the values of its question marks, in their order. Empty text: no condition."""

    sql: str
    parameters: tuple[Parameter | Sequence[str], ...] = ()


class Dialect(Hashable, Protocol):
    """Builds expressions. Values and JSON paths are parameters, never part of the text. Texts are cached by dialect."""

    def contains(self, text: str, parameter: str) -> Where:
        """Whether a text holds another; no character is a wildcard."""

    def any_of(self, column: str, values: Sequence[str]) -> Where:
        """Whether a column equals one of the strings. The SQL text does not depend on their number."""

    def walked(self, column: str) -> str:
        """The column in a form for which no index is used, so that rows are scanned in the statement's order and not sorted."""

    def in_table_order(self, table: str) -> str:
        """A table of FROM, with its alias, in a form for which no index is used, so that a damaged index hides no row."""

    def json_present(self, column: str, keys: Sequence[str]) -> Where:
        """Whether the keys lead to a value, null included."""

    def json_compares(self, column: str, keys: Sequence[str], operator: str, kind: LiteralKind, operand: Parameter) -> Where:
        """Whether the keys lead to a value of the literal's type for which the comparison is true."""

    def json_array_has(self, column: str, keys: Sequence[str], kind: LiteralKind, operand: Parameter) -> Where:
        """Whether the keys lead to an array with that element."""

    def json_text_contains(self, column: str, keys: Sequence[str], operand: str) -> Where:
        """Whether the keys lead to a string that holds another."""
