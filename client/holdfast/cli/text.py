"""Escapes control characters in text for a terminal, and formats sizes and times for people."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, marks of direction, invisible characters that can hide text, and lone
# surrogates, which no output can encode.
_CLASS = "\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff"
_CONTROLS = re.compile(f"[{_CLASS}]")
_STEERING = re.compile(f"(?![\t\n\f]|\r\n)[{_CLASS}]")
_LAYOUT = {"\n": "\n", "\t": "\t"}
_SPACES = {"\n": " ", "\t": " ", "\r": " "}


def visible(text: str) -> str:
    """Returns the text with control characters escaped, so that no content steers the terminal. Newlines and tabs stay."""
    return _CONTROLS.sub(lambda found: _LAYOUT.get(found[0]) or _spelled(found[0]), text)


def one_line(text: str) -> str:
    """Escapes as `visible` does, on one line: newlines and tabs become spaces."""
    return _CONTROLS.sub(lambda found: _SPACES.get(found[0]) or _spelled(found[0]), text)


def steers(text: str) -> bool:
    """Whether the text has a control character besides tabs, newlines, form feeds, and a carriage return before a newline."""
    return _STEERING.search(text) is not None


def harmless_json(text: str) -> str:
    """Escapes the control characters above U+001F in JSON text, which JSON encoders leave as they are."""
    return _CONTROLS.sub(lambda found: _json_escaped(found[0]), text)


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _spelled(character: str) -> str:
    if character < "\u0100":
        return f"\\x{ord(character):02x}"
    return f"\\u{ord(character):04x}" if character < "\U00010000" else f"\\U{ord(character):08x}"


def size_text(size_bytes: int) -> str:
    """`512 B`, `1.5 KiB`, `3.2 GiB`."""
    size, units = float(size_bytes), iter(("KiB", "MiB", "GiB", "TiB"))
    if size < 1024:
        return f"{size_bytes} B"
    unit = ""
    while size >= 1024 and (larger := next(units, "")):
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """`42 s`, `3 min`, `2 h 5 min`, `4 d 2 h`."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def time_text(rfc3339: str) -> str:
    """Returns a time in seconds, in a form that filters accept."""
    return rfc3339[:19] + "Z" if len(rfc3339) > 19 else rfc3339
