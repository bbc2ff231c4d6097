"""What engines spell differently in SQL. A connection has the dialect of its engine; nothing here is global.

The rest of `store/` is one text that every engine takes: `?` for each value, names from the registry in double quotes.
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
    """Expressions. Values and JSON paths become parameters and are never part of the text. Texts are cached by dialect."""

    def contains(self, text: str, parameter: str) -> Where:
        """Whether a text holds another; no character is a wildcard."""

    def any_of(self, column: str, values: Sequence[str]) -> Where:
        """Whether a column is one of the strings. The text is the same for any number of them."""

    def walked(self, column: str) -> str:
        """A column in a form that enters no index, so that rows are walked in the statement's order and not sorted for it."""

    def json_present(self, column: str, keys: Sequence[str]) -> Where:
        """Whether the keys lead to a value, null included."""

    def json_compares(self, column: str, keys: Sequence[str], operator: str, kind: LiteralKind, operand: Parameter) -> Where:
        """Whether the keys lead to a value of the literal's type that compares so."""

    def json_array_has(self, column: str, keys: Sequence[str], kind: LiteralKind, operand: Parameter) -> Where:
        """Whether the keys lead to an array with that element."""

    def json_text_contains(self, column: str, keys: Sequence[str], operand: str) -> Where:
        """Whether the keys lead to a string that holds another."""
