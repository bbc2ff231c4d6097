"""Parses the text given for a field into the value that the client takes, by the field's type. Errors name the field."""

from __future__ import annotations

import math
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.cli.fields import rules_of
from holdfast.cli.kind_names import unknown
from holdfast.contract.kinds import TIMESTAMP, fields_of
from holdfast.errors import InvalidArgument, TooLarge
from holdfast.values.fields import Json
from holdfast.values.json_text import from_json

MAX_TEXT_BYTES = 2 << 20  # the limit of a record
MAX_FORM_BYTES = 16 << 20  # the limit of a request
STDIN = "-"
NOW = "now"
BOOLEANS = {"true": True, "false": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file (`-`: stdin) to upload as a blob; the field gets its digest."""

    path: str


@dataclass(slots=True)
class Files:
    """Reads the files that values refer to. Stdin can be read only once."""

    _stdin_taken: bool = field(default=False)

    def read(self, path: str, most: int) -> bytes:
        """Returns the content of a file, or of stdin for `-`. Raises TooLarge if it has more than `most` bytes, OSError."""
        if path == STDIN:
            self.take_stdin()
            data = sys.stdin.buffer.read(most + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(most + 1)
        if len(data) > most:
            raise TooLarge(
                f"{path} has more than {most:,} bytes. Put big content into an artifact: content_digest=@{path}.",
                metadata={"limit": str(most)},
            )
        return data

    def take_stdin(self) -> None:
        """Marks stdin as used. Raises InvalidArgument the second time."""
        if self._stdin_taken:
            raise InvalidArgument("Stdin can be read only once.", reason="USAGE")
        self._stdin_taken = True


def is_message(descriptor: FieldDescriptor) -> bool:
    """Whether the field's type is a message other than Timestamp."""
    return descriptor.message_type is not None and descriptor.message_type.full_name != TIMESTAMP


def value_of(descriptor: FieldDescriptor, texts: Sequence[str], files: Files) -> object:
    """Returns the field's value for the texts after `FIELD=`, of which only a repeated field may have several.

    None clears the field. Raises InvalidArgument, which names the field.
    """
    if descriptor.is_repeated:
        return _many(descriptor, [each for each in texts if each], files) or None
    if len(texts) > 1:
        raise _wrong(descriptor, "takes one value, but several are given")
    return _single(descriptor, texts[0], files) if texts[0] else None


def _many(descriptor: FieldDescriptor, texts: Sequence[str], files: Files) -> list[Any]:
    if not is_message(descriptor):
        return [_text(descriptor, each, files) for each in texts]
    found: list[Any] = []
    for text in texts:
        value = _json(descriptor, _text(descriptor, text, files))
        found.extend(value if isinstance(value, list) else [value])
    return [_element(descriptor, each) for each in found]


def _single(descriptor: FieldDescriptor, text: str, files: Files) -> object:
    if rules_of(descriptor).blob and text.startswith("@"):
        if text[1:] == STDIN:
            files.take_stdin()
        else:
            _check_readable(descriptor, text[1:])
        return Upload(text[1:])
    plain = _text(descriptor, text, files)
    if rules_of(descriptor).json:
        _json(descriptor, plain)
        return Json(plain)
    if descriptor.message_type is not None:
        return _time(descriptor, plain.strip())
    reader = _SCALARS.get(descriptor.cpp_type)
    return plain if reader is None else reader(descriptor, plain.strip())


def _check_readable(descriptor: FieldDescriptor, path: str) -> None:
    """Raises for a file that cannot be uploaded, before anything is written. Does not open it: a pipe can be read only once."""
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise _wrong(descriptor, f"{path}: {error.strerror}") from None
    if is_directory or not os.access(path, os.R_OK):
        raise _wrong(descriptor, f"{path}: {'this is a directory' if is_directory else 'it may not be read'}")


def _text(descriptor: FieldDescriptor, text: str, files: Files) -> str:
    """The text itself, or for `@FILE` the content of the file; a leading `@@` is a literal `@`."""
    if not text.startswith("@") or text.startswith("@@"):
        return text.removeprefix("@")
    try:
        return files.read(text[1:], MAX_TEXT_BYTES).decode()
    except OSError as error:
        raise _wrong(descriptor, f"{text[1:]}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _wrong(descriptor, f"{text[1:]} is not UTF-8 text; put such content into an artifact") from None


def _json(descriptor: FieldDescriptor, text: str) -> Any:
    try:
        return from_json(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(descriptor, f'takes JSON, such as {{"a": 1}} or "text" with its quotes ({error})') from None


def _time(descriptor: FieldDescriptor, text: str) -> Timestamp:
    time = Timestamp()
    if text == NOW:
        time.GetCurrentTime()
        return time
    try:
        time.FromJsonString(text)
    except ValueError:
        raise _wrong(descriptor, f"{text!r} is not a time; write one like 2026-01-31T12:00:00Z, or now") from None
    return time


def _whole(descriptor: FieldDescriptor, text: str) -> int:
    if not _WHOLE.fullmatch(text) or not -(2**63) <= (number := int(text)) < 2**63:
        raise _wrong(descriptor, f"{text!r} is not a whole number of 64 bits")
    return number


def _real(descriptor: FieldDescriptor, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(descriptor, f"{text!r} is not a number")
    return number


def _boolean(descriptor: FieldDescriptor, text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise _wrong(descriptor, f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


_SCALARS: Mapping[int, Callable[[FieldDescriptor, str], object]] = {
    FieldDescriptor.CPPTYPE_INT64: _whole,
    FieldDescriptor.CPPTYPE_INT32: _whole,
    FieldDescriptor.CPPTYPE_DOUBLE: _real,
    FieldDescriptor.CPPTYPE_BOOL: _boolean,
}


def form_values(descriptor: Descriptor, form: object) -> dict[str, object]:
    """Returns the values of a JSON object as `show --json` writes it, without nulls and fields that only the daemon sets.

    Raises InvalidArgument for an unknown field or a value of the wrong type.
    """
    if not isinstance(form, dict):
        raise InvalidArgument(f"{descriptor.name} is a JSON object, not {type(form).__name__}.", reason="USAGE")
    known = fields_of(descriptor)
    values: dict[str, object] = {}
    for name, value in form.items():
        if name not in known:
            settable = [each.name for each in known.values() if not each.output_only]
            raise unknown(f"field of {descriptor.name}", name, settable, reason="FIELD_UNKNOWN")
        if value is not None and not known[name].output_only:
            values[name] = _form_value(descriptor.fields_by_name[name], value)
    return values


def _form_value(descriptor: FieldDescriptor, value: Any) -> object:
    if rules_of(descriptor).json or descriptor.message_type is None:
        return value
    if not is_message(descriptor):
        return _time(descriptor, value if isinstance(value, str) else str(value))
    if not isinstance(value, list):
        raise _wrong(descriptor, "takes a list of objects")
    return [_element(descriptor, each) for each in value]


def _element(descriptor: FieldDescriptor, form: object) -> dict[str, object]:
    """The values of one element of a repeated message."""
    inner = descriptor.message_type
    assert inner is not None
    if not isinstance(form, dict):
        raise _wrong(descriptor, f"takes a JSON object of {inner.name} each time, not {type(form).__name__}")
    return form_values(inner, form)


def _wrong(descriptor: FieldDescriptor, why: str) -> InvalidArgument:
    return InvalidArgument(f"{descriptor.name}: {why}.", reason="VALUE_INVALID", metadata={"field": descriptor.name})
