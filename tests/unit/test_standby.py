"""The threads that a stop needs exist before it begins."""

from __future__ import annotations

import threading
import time

import pytest

from holdfastd.daemon import EXIT_STUCK, end_stuck
from holdfastd.standby import Standby, Watchdog


def test_a_standby_runs_its_function_in_its_own_thread() -> None:
    ran: list[threading.Thread] = []
    done = threading.Event()
    standby = Standby("closing")
    standby.run(lambda: (ran.append(threading.current_thread()), done.set()))
    assert done.wait(5.0)
    assert ran[0].name == "closing"


def test_an_armed_watchdog_ends_the_process_and_logs_where_its_threads_were(caplog: pytest.LogCaptureFixture) -> None:
    codes: list[int] = []
    watchdog = Watchdog(lambda timeout_s: end_stuck(timeout_s, codes.append))
    watchdog.arm(0.05)
    watchdog.join(5.0)
    assert codes == [EXIT_STUCK]
    [record] = [each for each in caplog.records if each.message == "stuck"]
    assert "thread_0" in vars(record)


def test_a_watchdog_that_is_called_off_or_never_armed_does_nothing() -> None:
    timeouts: list[float] = []
    called_off, never_armed = Watchdog(timeouts.append), Watchdog(timeouts.append)
    called_off.arm(0.05)
    called_off.call_off()
    time.sleep(0.15)
    never_armed.call_off()
    called_off.join(5.0)
    never_armed.join(5.0)
    assert timeouts == []


def test_both_threads_exist_before_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    ran = threading.Event()
    standby, watchdog = Standby("closing"), Watchdog(timeouts.append)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    standby.run(ran.set)
    watchdog.arm(0.01)
    watchdog.join(5.0)
    assert ran.wait(5.0)
    assert timeouts == [0.01]
