"""Checks at start that the system grants the threads that the daemon needs. `__main__` calls it before it opens the daemon.

Otherwise a start fails at some step in the middle, in Python or in gRPC's library, with an error that does not name the limit.
"""

from __future__ import annotations

import threading

from holdfastd.errors import SetupError

# Threads of a daemon that serves: about a dozen of its own and of gRPC, and two for calls. With fewer, jobs fail.
LEAST = 16


def check_limit() -> None:
    """Starts as many threads as the daemon needs, and ends them. Raises SETUP when the system starts fewer."""
    ended = threading.Event()
    started = _start(ended)
    ended.set()
    for each in started:
        each.join()
    if len(started) < LEAST:
        raise SetupError(
            f"The system started only {len(started)} of the {LEAST} threads that the daemon needs. Raise the user's limit of "
            "processes and threads (`ulimit -u`), or the limit of the container (`pids.max`)."
        )


def _start(ended: threading.Event) -> list[threading.Thread]:
    """The threads, fewer than needed when the system refuses one. Each waits for the event."""
    started: list[threading.Thread] = []
    while len(started) < LEAST:
        thread = threading.Thread(target=ended.wait, name="limit")
        try:
            thread.start()
        except RuntimeError:
            break
        started.append(thread)
    return started
