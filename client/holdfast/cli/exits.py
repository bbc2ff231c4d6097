"""Exit codes, and the report of an error on stderr as text or JSON."""

from __future__ import annotations

import sys

from holdfast import errors
from holdfast.cli.text import harmless_json, visible

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
CONFLICT = 5
INTERRUPTED = 130  # 128 + SIGINT, the convention of shells
PIPE_CLOSED = 141  # 128 + SIGPIPE

_CODES: tuple[tuple[type[errors.HoldfastError], int], ...] = (
    (errors.InvalidArgument, USAGE),
    (errors.Unavailable, UNREACHABLE),
    (errors.NotFound, NOT_FOUND),
    (errors.AlreadyExists, CONFLICT),
    (errors.VersionMismatch, CONFLICT),
    (errors.FailedPrecondition, CONFLICT),
    (errors.OutOfRange, CONFLICT),
)

# A broken file of the daemon is no conflict with what is stored.
_CODES_BY_REASON = {"DAEMON_FILE_UNREADABLE": FAILED}


def exit_code_of(error: errors.HoldfastError) -> int:
    """Returns the exit code for an error."""
    if (code := _CODES_BY_REASON.get(error.reason)) is not None:
        return code
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def report(error: errors.HoldfastError, *, as_json: bool) -> int:
    """Prints an error on stderr, as a line or as a JSON object, and returns the exit code."""
    if as_json:
        import json

        told = {"reason": error.reason, "message": error.message, "metadata": error.metadata}
        print(harmless_json(json.dumps(told)), file=sys.stderr)
    else:
        print(f"holdfast: {visible(error.message)}", file=sys.stderr)
    return exit_code_of(error)
