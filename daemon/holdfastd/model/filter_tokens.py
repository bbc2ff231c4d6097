"""The tokens of the filter language. Only `filters.py` calls this.

Positions are 0-based characters of the filter's text. InvalidArgument is the only error that any text can cause.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from holdfastd.errors import InvalidArgument


class TokenKind(enum.Enum):
    """The kinds of token."""

    WORD = "word"
    SEGMENT = "segment"  # a bare name after a dot, which may be a keyword or a number
    TEXT = "text"  # quoted, or a bare timestamp
    NUMBER = "number"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `text` is its value: without the quotes, and with escapes replaced."""

    kind: TokenKind
    text: str
    position: int

    def describe(self) -> str:
        """How an error message names the token."""
        return "the end of the filter" if self.kind is TokenKind.END else quoted(self.text)


def refuse(message: str, position: int, *, reason: str = "FILTER_INVALID", **metadata: object) -> NoReturn:
    """Raises INVALID_ARGUMENT with the position in the filter."""
    raise InvalidArgument(f"Filter, character {position}: {message}", reason=reason, position=position, **metadata)


def quoted(text: str) -> str:
    """The text in quotes, cut to 40 characters, with control characters escaped."""
    shown = text if len(text) <= 40 else text[:40] + "…"
    return repr(shown)


_SPACE = re.compile(r"[ \t\r\n]*")
_SEGMENT = re.compile(r"[\w-]+")
_TOKEN = re.compile(
    r"""
    (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt][\w:.+-]*)?(?!\w))
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
    |(?P<word>[^\W\d]\w*(?:-+\w+)*)
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<operator>!=|<=|>=|[=<>:])
    |(?P<punctuation>[().*-])
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS = {
    "time": TokenKind.TEXT,
    "number": TokenKind.NUMBER,
    "word": TokenKind.WORD,
    "quoted": TokenKind.TEXT,
    "operator": TokenKind.OPERATOR,
    "punctuation": TokenKind.PUNCTUATION,
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}


def _unescape(body: str, position: int) -> str:
    def replace(match: re.Match[str]) -> str:
        if (meant := _ESCAPED.get(match[1])) is None:
            place = position + match.start()
            refuse(f"There is no escape {quoted(match[0])}: write \\\\, \\\", \\', \\n, \\r or \\t.", place)
        return meant

    return _ESCAPE.sub(replace, body)


def _refuse_character(text: str, position: int) -> NoReturn:
    found = text[position]
    if found in "\"'":
        refuse(f"The string that begins here has no closing {found}.", position)
    refuse(f"Unexpected {quoted(found)}: put values that are not plain words or numbers in quotes.", position)


def _next_token(text: str, position: int, after_dot: bool) -> tuple[Token, int]:
    if after_dot and (segment := _SEGMENT.match(text, position)):
        return Token(TokenKind.SEGMENT, segment[0], position), segment.end()
    match = _TOKEN.match(text, position)
    if match is None or match.lastgroup is None:
        _refuse_character(text, position)
    value = match[0]
    if match.lastgroup == "quoted":
        value = _unescape(value[1:-1], position + 1)
    return Token(_KINDS[match.lastgroup], value, position), match.end()


def _check_characters(text: str) -> None:
    for position, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            refuse("A filter must not hold NUL or a lone surrogate.", position)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a filter, the last one of kind END. Raises FILTER_INVALID at a character that begins no token."""
    _check_characters(text)
    position, after_dot = 0, False
    while True:
        if not after_dot and (space := _SPACE.match(text, position)):
            position = space.end()
        if position == len(text):
            yield Token(TokenKind.END, "", position)
            return
        token, position = _next_token(text, position, after_dot)
        after_dot = token.kind is TokenKind.PUNCTUATION and token.text == "."
        yield token
