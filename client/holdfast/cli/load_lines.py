"""The JSON lines that `load` reads, and where in them an error is."""

from __future__ import annotations

import stat
import sys
from array import array
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from holdfast.domain.loads import LoadReport
from holdfast.errors import HoldfastError, InvalidArgument, TooLarge
from holdfast.values.json_text import from_json

MAX_LINE_BYTES = 256 << 20
FILE = "@file"
_COUNTED_BYTES = 1 << 20


class Lines:
    """The objects of a file of JSON lines, or of stdin (`-`). Iterate once. Empty lines are left out.

    count: how many lines have been read. total: how many the file has; 0 if that is not known.
    """

    def __init__(self, path: str, *, allow_any_path: bool) -> None:
        self.name = "stdin" if path == "-" else path
        self.count = 0
        self.total = 0
        self._path = None if path == "-" else Path(path)
        self._directory = (Path() if self._path is None else self._path.parent).resolve()
        self._allow_any_path = allow_any_path
        self._numbers = array("Q")  # the line of each object
        if self._path is not None:
            self.total = _lines_of(self._path)

    def number_of(self, index: int) -> int:
        """The number of the line of an object; objects are counted from 0, lines from 1."""
        return self._numbers[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with nullcontext(sys.stdin.buffer) if self._path is None else self._path.open("rb") as file:
            while line := _next_line(file, self.name, self.count + 1):
                self.count += 1
                if line.strip():
                    self._numbers.append(self.count)
                    yield self._object(line)

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            form = from_json(line)
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"this is not JSON ({error})") from None
        if not isinstance(form, dict):
            raise self._wrong("this is not a JSON object")
        return {name: self._value(name, value) for name, value in form.items()}

    def _value(self, name: str, value: Any) -> Any:
        """A value; a `Path` for `{"@file": …}`."""
        if not isinstance(value, dict) or list(value) != [FILE]:
            return value
        if not isinstance(value[FILE], str) or not value[FILE]:
            raise self._wrong(f"{name}: {FILE} takes a path")
        try:
            path = (self._directory / value[FILE]).resolve()
            is_file = path.is_file()
        except (OSError, ValueError) as error:
            raise self._wrong(f"{name}: {value[FILE][:80]!r} names no file ({error})") from None
        if not self._allow_any_path and not path.is_relative_to(self._directory):
            raise self._wrong(f"{name}: {value[FILE]} is outside {self._directory}; --allow-any-path allows that")
        if not is_file:
            raise self._wrong(f"{name}: {path} is {'no regular file' if path.exists() else 'missing'}")
        return path

    def _wrong(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"{why}.", reason="LINE_INVALID", metadata={"index": str(len(self._numbers) - 1)})


def located(error: HoldfastError, lines: Lines, report: LoadReport) -> HoldfastError:
    """The error with the line that it is about, and what was loaded before. Its class and so the exit code stay the same."""
    where = lines.name
    if (index := error.metadata.pop("index", None)) is not None:
        number = lines.number_of(int(index))
        error.metadata |= {"file": lines.name, "line": str(number)}
        where = f"{lines.name}, line {number}"
    elif error.metadata.get("line"):
        where = f"{lines.name}, line {error.metadata['line']}"
    done = f"{report.loaded:,} were loaded before" if report.loaded else "Nothing was loaded"
    again = " `--on-conflict skip` leaves them out the next time." if report.loaded else ""
    error.metadata["loaded"] = str(report.loaded)
    error.message = f"{where}: {error.message}" + ("" if report.dry_run else f" {done}.{again}")
    return error


def _next_line(file: BinaryIO, name: str, number: int) -> bytes:
    line = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise TooLarge(
            f'the line has more than {MAX_LINE_BYTES:,} bytes. Put its content into a file, and name it by {{"@file": "…"}}.',
            metadata={"limit": str(MAX_LINE_BYTES), "line": str(number), "file": name},
        )
    return line


def _lines_of(path: Path) -> int:
    """The number of lines of a regular file; 0 for a pipe or a device, which may have no end. Raises InvalidArgument."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return 0
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_COUNTED_BYTES), b""))
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}.", reason="USAGE") from None
