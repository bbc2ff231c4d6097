"""Text for filters, in AIP-160."""

from __future__ import annotations

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(text: str) -> str:
    """A string as a filter's literal: `filter=f"title = {quoted(title)}"` means exactly this title."""
    return f'"{text.translate(_ESCAPES)}"'


def both(one: str, other: str) -> str:
    """A filter that asks for both; an empty one asks for nothing."""
    return f"({one}) AND ({other})" if one and other else one or other
