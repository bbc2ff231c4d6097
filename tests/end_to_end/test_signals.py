"""Signals neither end the daemon uncleanly nor suspend it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from holdfastd.supervisor import STOPPING
from tests.end_to_end.daemons import Directory, eventually
from tests.support.api import Api, insert

pytestmark = pytest.mark.slow  # processes of its own

NAMED = [
    "USR1",
    "USR2",
    "PIPE",
    "ALRM",
    "VTALRM",
    "PROF",
    "POLL",
    "PWR",
    "STKFLT",
    "XCPU",
    "XFSZ",
    "TTOU",
    "TTIN",
    "CHLD",
    "WINCH",
]
SURVIVED = [*(getattr(signal, f"SIG{each}") for each in NAMED if hasattr(signal, f"SIG{each}")), signal.SIGRTMIN, signal.SIGRTMAX]


def test_no_usual_signal_ends_the_daemon(directory: Directory) -> None:
    daemon = directory.serve()
    with Api(daemon.socket, "") as api:
        for number in [*SURVIVED, *SURVIVED, signal.SIGHUP]:
            daemon.process.send_signal(number)
            api.commit(insert("session"))
            assert daemon.process.poll() is None, number
        assert api.count("session") == 2 * len(SURVIVED) + 1
    assert eventually(lambda: "event=signal_ignored signal=SIGUSR1" in daemon.log())
    assert daemon.log().count("signal=SIGUSR1") == 1
    assert daemon.end() == 0
    assert daemon.card()["clean"] is True


def test_quit_stops_in_order(directory: Directory) -> None:
    daemon = directory.serve()
    assert daemon.end(signal.SIGQUIT) == 0
    assert daemon.card()["clean"] is True


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_that_is_sent_twice_within_a_second_stops_in_order(directory: Directory, number: int) -> None:
    """`timeout` sends it to the daemon and then to the whole process group."""
    daemon = directory.serve("store", "run/s.sock", HOLDFAST_FAILPOINTS="stop.refusing_calls=sleep:0.5")
    daemon.process.send_signal(number)
    assert eventually(lambda: "event=stopping" in daemon.log())
    daemon.process.send_signal(number)
    assert daemon.wait(15.0) == 0, daemon.log()
    assert "stopped_at_once" not in daemon.log()
    assert daemon.card()["clean"] is True


def test_another_signal_stops_at_once(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", HOLDFAST_FAILPOINTS="stop.refusing_calls=sleep:5")
    daemon.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: "event=stopping" in daemon.log())
    assert daemon.end(signal.SIGINT) == 128 + signal.SIGINT


def test_other_signals_do_not_hasten_a_stop(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", HOLDFAST_FAILPOINTS="stop.refusing_calls=sleep:1")
    daemon.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: "event=stopping" in daemon.log())
    for number in (signal.SIGHUP, signal.SIGUSR1):
        daemon.process.send_signal(number)
        time.sleep(0.1)
    assert daemon.wait(15.0) == 0, daemon.log()
    assert "stopped_at_once" not in daemon.log()


def config(directory: Directory, **settings: object) -> Path:
    path = directory.path / "holdfast.toml"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
    return path


def test_hup_applies_the_log_level_and_names_what_needs_a_restart(directory: Directory) -> None:
    path = config(directory, log_level="info")
    daemon = directory.serve("store", "run/s.sock", "--config", str(path))
    config(directory, log_level="debug", readers=7)
    daemon.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "event=reloaded log_level=debug needs_restart=readers" in daemon.log())
    assert eventually(lambda: "level=debug" in daemon.log())
    path.write_text("log_level = 'loud'")
    daemon.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "event=not_reloaded" in daemon.log())
    assert "loud" in daemon.log()
    assert daemon.end() == 0
