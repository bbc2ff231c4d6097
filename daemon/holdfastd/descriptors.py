"""The process's file descriptors: how many there are, how many of them connections may take, and what a lack of them means.

Connections come from outside, so they get only a part. The rest is a reserve for blob files, for the database and for what a
stop opens. `daemon.py` checks the limit at start, the front door keeps connections out of the reserve, and `blobs/` and `store/`
translate a lack that happens nevertheless, for example when the whole system has none left (ENFILE).
"""

from __future__ import annotations

import errno
import os
import resource

from holdfastd.errors import Exhausted, SetupError

A_CONNECTION = 3  # the caller's socket, ours to grpcio, grpcio's
_AT_REST = 30  # with no connection; each reader of the database adds `_A_READER`
_A_READER = 2  # the database and its log
_A_STREAM = 2  # a download opens one file; an upload opens one, and a directory to sync it
_RESERVE_MIN = 16
_CONNECTIONS_MIN = 2
_LACKING = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> None:
    """Raises the soft limit to the hard one: programs start with 1,024 for the sake of select(2), which is not used here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems report a hard limit that they do not grant
        return


def limit() -> int:
    """How many descriptors the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def for_connections(readers: int, streams: int) -> int:
    """The highest descriptor number that connections may take, beside these readers of the database and streams.

    Raises SETUP when the limit of the process leaves too few.
    """
    at_rest, most = _AT_REST + _A_READER * readers, limit()
    least = at_rest + _RESERVE_MIN + A_CONNECTION * _CONNECTIONS_MIN
    if most < least:
        raise SetupError(
            f"The process may open {most} files (`ulimit -n`); with {readers} readers the daemon needs {least}. Raise the limit."
        )
    reserve = min(_RESERVE_MIN + _A_STREAM * streams, max(_RESERVE_MIN, (most - at_rest) // 2))
    return most - reserve


def lack(error: BaseException) -> Exhausted | None:
    """RESOURCE_EXHAUSTED when the error is the system's refusal to open one more file; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _LACKING:
        return None
    return _exhausted()


def lack_now() -> Exhausted | None:
    """RESOURCE_EXHAUSTED when no file can be opened at present. For errors of libraries that do not pass on the cause."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return lack(error)
    return None


def _exhausted() -> Exhausted:
    return Exhausted(
        "The daemon has no file descriptor left. Close connections or streams and try again, or raise its limit (`ulimit -n`).",
        reason="TOO_MANY_FILES",
        retry_delay_s=1.0,
    )
