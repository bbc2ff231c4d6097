"""The progress of long work: a line with rate and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
import re
import sys

import pytest

from holdfast.cli.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replaces stderr. Not a fixture, because pytest resets stderr between the phases of a test."""
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


def last_line(terminal: Terminal) -> str:
    """The last state of the line, without control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).rsplit("\r", 1)[-1]


def test_progress_has_a_phase_a_count_a_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    clock = iter(range(1_000_000))
    monkeypatch.setattr("rich.console.monotonic", lambda: float(next(clock)))
    with ProgressBar() as progress:
        progress.tell("rows", 0, 1_000)
        progress.tell("rows", 100, 1_000)
        progress.tell("rows", 200, 1_000)
        with progress.hidden():
            print("a problem")
        assert re.search(r"rows\b.*\b200/1000 +\d+/s +\d+:\d\d:\d\d", terminal.getvalue())
        progress.tell("[red]blobs\x1b[2J", 5, 0)
        with progress.hidden():
            pass
        assert "[red]blobs\\x1b[2J" in terminal.getvalue()
        assert "5/?" in terminal.getvalue()
    assert last_line(terminal).strip() == ""
    assert "a problem" not in terminal.getvalue()


def test_phases_of_one_whole_share_the_count_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    clock = iter(range(1_000_000))
    monkeypatch.setattr("rich.console.monotonic", lambda: float(next(clock)))
    with ProgressBar() as progress:
        for done in range(9):
            progress.tell(f"records of kind {done}", done, 27)
            with progress.hidden():
                pass
        assert re.search(r"records of kind 0\b.*\b0/27\b", terminal.getvalue())
        assert re.search(r"records of kind 8\b.*\b8/27 +\d+/s +\d+:\d\d:\d\d", terminal.getvalue())
        assert "/?" not in terminal.getvalue()
        progress.tell("blobs", 0, 27)
        with progress.hidden():
            pass
        assert re.search(r"blobs\b.*\b0/27 +-:--:--", terminal.getvalue()), "what counts anew must have a rate of its own"


def test_a_terminal_that_cannot_rewrite_a_line_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with ProgressBar() as progress:
        progress.tell("rows", 1, 2)
    assert terminal.getvalue() == ""


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as progress:
        progress.tell("rows", 1, 2)
        with progress.hidden():
            print("a problem")
    assert capsys.readouterr() == ("a problem\n", "")
