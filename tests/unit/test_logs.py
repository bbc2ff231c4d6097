from __future__ import annotations

import json
import logging
import shlex

import pytest

from holdfastd.errors import InvalidArgument
from holdfastd.logs import LineFormatter


def line(level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> str:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.getLogger("x").makeRecord("x", level, "x.py", 1, "it_happened", (), info, None, fields)
    return LineFormatter().format(record)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_event_is_one_line_of_keys_and_values() -> None:
    said = shlex.split(line(socket="/run/s.sock", after_s=0.1234567, text="two words"))
    assert [each.partition("=")[0] for each in said] == ["time", "level", "event", "socket", "after_s", "text"]
    assert said[1:] == ["level=info", "event=it_happened", "socket=/run/s.sock", "after_s=0.123457", "text=two words"]


@pytest.mark.parametrize("value", ["a\nb", 'say "x"', "a=b", "", "tab\t", "\x1b[31m"])
def test_no_value_can_break_the_line(value: str) -> None:
    said = line(field=value)
    assert "\n" not in said
    assert "\x1b" not in said
    assert json.loads(said.partition(" field=")[2]) == value


def test_our_errors_say_their_reason_and_text() -> None:
    said = line(error=raised(InvalidArgument("Mend it.", reason="VALUE_INVALID")))
    assert "error=InvalidArgument" in said
    assert 'reason=VALUE_INVALID text="Mend it."' in said


def test_other_errors_are_logged_with_their_place_but_not_their_text() -> None:
    said = line(error=raised(ValueError("a secret payload")))
    assert "error=ValueError" in said
    assert "at=raised:" in said
    assert "secret" not in said


def test_errors_of_the_operating_system_are_logged_with_their_text() -> None:
    assert "No space left" in line(error=raised(OSError(28, "No space left on device")))
