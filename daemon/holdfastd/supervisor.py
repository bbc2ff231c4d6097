"""Runs a daemon under trio in the main thread: signals, the jobs' timers, the check of the socket, idle exit, stopping.

`__main__` calls `run`. gRPC calls do not pass through this module. Only this module opens the root nursery of the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

import trio

from holdfastd import descriptors, logs
from holdfastd.daemon import SWITCH_INTERVAL_S, Daemon, end_stuck
from holdfastd.errors import SetupError
from holdfastd.memory import tune_allocator
from holdfastd.standby import Standby, Watchdog

EXIT_FAILED = 70
WATCH_INTERVAL_S = 1.0
# Stopping waits up to `grace_s` each for calls, jobs and the writer. The watchdog ends the process this much later.
WATCHDOG_MARGIN_S = 10.0

# `timeout` sends its signal to the daemon and, a few milliseconds later, to the whole process group.
REPEAT_S = 1.0

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# Those that report a fault of the process itself, that cannot be caught, and that do not end a process. SIGTSTP suspends, as the
# user of a terminal expects. Python ignores SIGPIPE and SIGXFSZ from its start, and writes fail with an error instead.
_LEFT_ALONE = frozenset(
    {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGKILL", "SIGSTOP"}
    | {"SIGCHLD", "SIGCLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGTSTP", "SIGPIPE", "SIGXFSZ"}
)

log = logs.logger(__name__)


class StopSignals:
    """The signals of `STOPPING` as they arrive, without those that repeat the last one within `REPEAT_S` after it."""

    def __init__(self, received: AsyncIterator[int]) -> None:
        self._received = received
        self._last = (0, 0.0)  # the number and the time of the last signal that was returned

    async def receive(self) -> int:
        while True:
            number, now = await anext(self._received), trio.current_time()
            if number != self._last[0] or now >= self._last[1] + REPEAT_S:
                self._last = (number, now)
                return number


def run(daemon: Daemon, reload: Callable[[], None]) -> int:
    """Serves until a signal arrives or the idle limit is reached, closes everything, and returns the process's exit code.

    The signals of `STOPPING` stop in order; a second one ends the process at once with 128 + its number, unless it repeats the
    first within `REPEAT_S`. SIGHUP calls `reload`. All other signals that would end the process are ignored and logged. Raises
    what `open` raises.
    """
    os.umask(0o077)
    tune_allocator()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    descriptors.raise_limit()
    closing, watchdog = Standby("closing"), Watchdog(end_stuck)
    return trio.run(_supervise, daemon, reload, closing, watchdog)


async def _supervise(daemon: Daemon, reload: Callable[[], None], closing: Standby, watchdog: Watchdog) -> int:
    with trio.open_signal_receiver(*STOPPING) as received, trio.open_signal_receiver(*_survived()) as others:
        daemon.open()
        signals = StopSignals(received)
        async with trio.open_nursery() as root:
            root.start_soon(_survive, others, reload)
            served = await _watch_until_end(daemon, signals)
            root.start_soon(_end_at_once, signals)
            watchdog.arm(3 * daemon.settings.grace_s + WATCHDOG_MARGIN_S)
            closed = await _close(daemon, closing)
            watchdog.call_off()
            root.cancel_scope.cancel()
    log.info("stopped")
    return 0 if served and closed else EXIT_FAILED


def _survived() -> list[int]:
    """The signals that neither stop the daemon nor end it. With SIGTTOU and SIGTTIN, so that no terminal suspends it."""
    named = {each.value for each in signal.Signals if each.name in _LEFT_ALONE}
    return sorted(each for each in map(int, signal.valid_signals()) if each not in named and each not in STOPPING)


async def _survive(signals: AsyncIterator[int], reload: Callable[[], None]) -> None:
    """Reloads at SIGHUP. Logs each other signal the first time that it arrives."""
    seen = set()
    async for number in signals:
        if number == signal.SIGHUP:
            reload()
        elif number not in seen:
            seen.add(number)
            log.warning("signal_ignored", extra={"signal": _name_of(number)})


def _name_of(number: int) -> str:
    return next((each.name for each in signal.Signals if each == number), f"SIG{number}")


async def _watch_until_end(daemon: Daemon, signals: StopSignals) -> bool:
    """Runs the tasks of the main thread until one of them asks to stop. Returns False when one of them failed."""
    failed = False
    try:
        async with trio.open_nursery() as background:
            background.start_soon(daemon.scheduler.serve)
            background.start_soon(_keep_reachable, daemon)
            background.start_soon(_until_idle, daemon, background.cancel_scope)
            background.start_soon(_until_signal, signals, background.cancel_scope)
    except* Exception as group:
        failed = True
        for error in group.exceptions:
            log.error("supervision_failed", exc_info=error)
    return not failed


async def _close(daemon: Daemon, closing: Standby) -> bool:
    """Closes the daemon in another thread, so that this one still receives signals. Returns False when a step failed."""
    closed = trio.Event()
    failures: list[Exception] = []
    trio_token = trio.lowlevel.current_trio_token()

    def close() -> None:
        try:
            daemon.close()
        except Exception as error:
            failures.append(error)
        trio_token.run_sync_soon(closed.set)

    closing.run(close)
    await closed.wait()
    for error in failures:
        log.error("stop_failed", exc_info=error)
    return not failures


async def _until_signal(signals: StopSignals, scope: trio.CancelScope) -> None:
    number = await signals.receive()
    log.info("signal", extra={"signal": signal.Signals(number).name})
    scope.cancel()


async def _end_at_once(signals: StopSignals, end_process: Callable[[int], None] = os._exit) -> None:
    number = await signals.receive()
    log.warning("stopped_at_once", extra={"signal": signal.Signals(number).name})
    end_process(128 + number)


async def _until_idle(daemon: Daemon, scope: trio.CancelScope) -> None:
    limit_s = daemon.settings.idle_exit_s
    if limit_s <= 0:
        return
    while (left := limit_s - daemon.idle_s()) > 0:
        await trio.sleep(max(0.05, left))
    log.info("idle", extra={"for_s": daemon.idle_s()})
    scope.cancel()


async def _keep_reachable(daemon: Daemon) -> None:
    complaint = ""
    while True:
        await trio.sleep(WATCH_INTERVAL_S)
        try:
            daemon.keep_reachable()
            complaint = ""
        except (SetupError, OSError) as error:  # retried every second, logged once
            if str(error) != complaint:
                complaint = str(error)
                log.error("socket_lost", extra={"text": complaint})
