"""What client and command line say about a history in which the clock was set back."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator

import pytest

import holdfast
from holdfast.cli import main
from tests.end_to_end.daemons import Directory

pytestmark = pytest.mark.slow  # processes of its own

AHEAD_S = 7200
# The daemon's clock is ahead until the file appears.
CLOCK = f"""\
import os, time
clock = time.time_ns
time.time_ns = lambda: clock() + (0 if os.path.exists(os.environ["SET_BACK"]) else {AHEAD_S} * 10**9)
"""


@pytest.fixture
def store(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> Iterator[holdfast.Store]:
    """A store with the session S, which was updated after the clock was set back."""
    directory.path.joinpath("sitecustomize.py").write_text(CLOCK)
    set_back = directory.path / "set-back"
    daemon = directory.serve(PYTHONPATH=str(directory.path), SET_BACK=str(set_back))
    with holdfast.connect(daemon.socket) as store:
        store.sessions.create(id="S", title="s")
        set_back.touch()
        store.sessions.update("S", title="t")
        monkeypatch.setenv("HOLDFAST_SOCKET", str(daemon.socket))
        yield store


def test_the_audit_by_time_says_so(store: holdfast.Store, caplog: pytest.LogCaptureFixture) -> None:
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    with caplog.at_level(logging.WARNING, "holdfast"):
        assert [each.version for each in store.audit.query(kind="session", page_size=1)] == [1, 2]
        assert caplog.messages == []
        assert [each.version for each in store.audit.query(since=since, page_size=1)] == [1, 2]
    [said] = caplog.messages
    assert "The clock was set back before revision 2" in said


def test_the_log_of_a_record_says_so(store: holdfast.Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "session", "S"]) == 0
    assert "ordered by revision, not by time" in capsys.readouterr().err
    store.sessions.create(id="T", title="t")
    assert main(["log", "session", "T"]) == 0
    assert capsys.readouterr().err == ""
