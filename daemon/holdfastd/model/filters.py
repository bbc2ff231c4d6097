"""The parser of the filter language, a subset of AIP-160 (https://google.aip.dev/160): text to syntax tree.

    expression  = factor { "AND" factor }
    factor      = term { "OR" term }              OR binds tighter than AND
    term        = { "NOT" | "-" } simple
    simple      = "(" expression ")" | path operator value
    path        = name { "." ( name | string ) }
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value       = string | word | [ "-" ] number | timestamp | "true" | "false" | "null" | "*"

`true`, `false` and `null` are written in any case; in quotes they are strings. Strings are written "…" or '…' with the escapes
\\\\ \\" \\' \\n \\r \\t. `field:*` tests for presence. `predicates.py` defines what each comparison means for each type of
field. Unlike AIP-160, this language has no functions and no words without an operator, and a wildcard inside a string is a plain
character.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from holdfastd.errors import InvalidArgument
from holdfastd.model.filter_tokens import Token, TokenKind, refuse, tokens

MAX_BYTES = 8 * 1024
MAX_NESTING = 64
MAX_COMPARISONS = 200

_INT64 = range(-(2**63), 2**63)
_KEYWORDS = ("AND", "OR", "NOT")


class Operator(enum.Enum):
    """The comparison operators."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    HAS = ":"


class LiteralKind(enum.Enum):
    """The type of a value in the filter's text."""

    TEXT = "string"
    INTEGER = "integer"
    REAL = "number"
    BOOLEAN = "boolean"
    NULL = "null"
    ANYTHING = "*"


@dataclass(frozen=True, slots=True)
class Literal:
    """A value. The kind is compared too: 1, 1.0 and True are equal in Python, but not as literals."""

    kind: LiteralKind
    value: str | int | float | bool | None
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator literal`. The path is the field's name, followed by keys for a place inside JSON."""

    path: tuple[str, ...]
    operator: Operator
    literal: Literal
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """Matches records that the operand does not match."""

    operand: Node


@dataclass(frozen=True, slots=True)
class And:
    """Matches records that all operands match. At least two operands."""

    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Matches records that any operand matches. At least two operands."""

    operands: tuple[Node, ...]


Node = Comparison | Not | And | Or


def conjuncts(node: Node | None) -> Iterator[Comparison]:
    """The comparisons that are joined by AND at the top of the tree, so that every matching record satisfies each of them."""
    if isinstance(node, And):
        for each in node.operands:
            yield from conjuncts(each)
    elif isinstance(node, Comparison):
        yield node


def comparisons(node: Node | None) -> Iterator[Comparison]:
    """All comparisons of the tree."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Not):
        yield from comparisons(node.operand)
    elif node is not None:
        for each in node.operands:
            yield from comparisons(each)


@lru_cache(maxsize=128)
def parse_filter(text: str) -> Node | None:
    """The tree of a filter; None for an empty filter, which matches every record. Thread-safe.

    Raises InvalidArgument: TOO_LARGE above 8 KiB, otherwise FILTER_INVALID with the position in the metadata.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidArgument(f"A filter has at most {MAX_BYTES} bytes.", reason="TOO_LARGE", limit=MAX_BYTES)
    return _Parser(list(tokens(text))).parse()


class _Parser:
    """A recursive-descent parser. MAX_NESTING bounds its depth."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._index = 0
        self._nesting = 0
        self._comparisons = 0

    def parse(self) -> Node | None:
        if self._peek().kind is TokenKind.END:
            return None
        node = self._expression()
        if self._peek().kind is not TokenKind.END:
            self._refuse("AND, OR or the end of the filter")
        return node

    def _peek(self) -> Token:
        return self._tokens[self._index]

    def _take(self) -> Token:
        token = self._peek()
        self._index += 1
        return token

    def _at(self, kind: TokenKind, text: str) -> bool:
        return self._peek().kind is kind and self._peek().text == text

    def _skip(self, kind: TokenKind, text: str) -> bool:
        found = self._at(kind, text)
        if found:
            self._index += 1
        return found

    def _refuse(self, expected: str) -> NoReturn:
        refuse(f"Expected {expected}, found {self._peek().describe()}.", self._peek().position)

    def _expression(self) -> Node:
        operands = [self._factor()]
        while self._skip(TokenKind.WORD, "AND"):
            operands.append(self._factor())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _factor(self) -> Node:
        operands = [self._term()]
        while self._skip(TokenKind.WORD, "OR"):
            operands.append(self._term())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _term(self) -> Node:
        if self._at(TokenKind.WORD, "NOT") or self._at(TokenKind.PUNCTUATION, "-"):
            self._enter()
            node: Node = Not(self._term())
            self._nesting -= 1
            return node
        if self._at(TokenKind.PUNCTUATION, "("):
            return self._group()
        return self._comparison()

    def _enter(self) -> None:
        if self._nesting == MAX_NESTING:
            refuse(f"A filter has at most {MAX_NESTING} levels of nesting.", self._peek().position, limit=MAX_NESTING)
        self._nesting += 1
        self._index += 1

    def _group(self) -> Node:
        self._enter()
        node = self._expression()
        if not self._skip(TokenKind.PUNCTUATION, ")"):
            self._refuse("AND, OR or a closing parenthesis")
        self._nesting -= 1
        return node

    def _comparison(self) -> Comparison:
        position = self._peek().position
        if self._comparisons == MAX_COMPARISONS:
            refuse(f"A filter has at most {MAX_COMPARISONS} comparisons.", position, limit=MAX_COMPARISONS)
        self._comparisons += 1
        path = self._path()
        if self._peek().kind is not TokenKind.OPERATOR:
            self._refuse(f"one of = != < <= > >= : after {'.'.join(path)[:60]}")
        operator = Operator(self._take().text)
        return Comparison(path, operator, self._literal(operator), position)

    def _path(self) -> tuple[str, ...]:
        if self._peek().kind is not TokenKind.WORD or self._peek().text in _KEYWORDS:
            self._refuse("a field's name, NOT or an opening parenthesis")
        path = [self._take().text]
        while self._skip(TokenKind.PUNCTUATION, "."):
            if self._peek().kind not in (TokenKind.SEGMENT, TokenKind.TEXT):
                self._refuse("a key after the dot, in quotes unless it is made of letters, digits, _ and -")
            path.append(self._take().text)
        return tuple(path)

    def _literal(self, operator: Operator) -> Literal:
        token = self._peek()
        if self._skip(TokenKind.PUNCTUATION, "*"):
            if operator is not Operator.HAS:
                refuse('Expected a value: * stands only after ":".', token.position)
            return Literal(LiteralKind.ANYTHING, None, token.position)
        if self._skip(TokenKind.PUNCTUATION, "-"):
            if self._peek().kind is not TokenKind.NUMBER:
                self._refuse("a number after the minus")
            return _number("-" + self._take().text, token.position)
        if token.kind is TokenKind.NUMBER:
            return _number(self._take().text, token.position)
        if token.kind is TokenKind.TEXT:
            return Literal(LiteralKind.TEXT, self._take().text, token.position)
        if token.kind is not TokenKind.WORD or token.text in _KEYWORDS:
            self._refuse("a value: a string in quotes, a word, a number, a time, true, false or null")
        return _word(self._take())


def _word(token: Token) -> Literal:
    text = token.text.lower()
    if text == "null":
        return Literal(LiteralKind.NULL, None, token.position)
    if text in ("true", "false"):
        return Literal(LiteralKind.BOOLEAN, text == "true", token.position)
    return Literal(LiteralKind.TEXT, token.text, token.position)


def _number(text: str, position: int) -> Literal:
    if text.lstrip("-").isdigit():
        # int() raises ValueError for thousands of digits, leading zeros among them.
        digits = text.lstrip("-").lstrip("0") or "0"
        value = int(digits) if len(digits) <= 19 else 2**64
        value = -value if text.startswith("-") else value
        if value not in _INT64:
            refuse("An integer has at most 64 bits.", position)
        return Literal(LiteralKind.INTEGER, value, position)
    real = float(text)
    if not math.isfinite(real):
        refuse("The number is too large.", position)
    return Literal(LiteralKind.REAL, real, position)
