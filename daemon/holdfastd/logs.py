"""Logging: one line for each event on stderr, as logfmt (`time=… level=info event=serving socket=…`).

An event has a short fixed name and fields: `log = logs.logger(__name__); log.info("serving", extra={"socket": …})`. No field
may hold content of entries, records or blobs. The message of an exception that is neither ours nor an OSError is not logged,
because it may quote such content.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from typing import Any

from holdfastd.errors import HoldfastError

_PLAIN = re.compile(r"[\w./:+,@%-]+", re.ASCII)
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def logger(name: str) -> logging.Logger:
    """The logger of a module."""
    return logging.getLogger(name)


def start(level: str) -> None:
    """Sends events of `level` and above to stderr; replaces the handler of an earlier call. Called by `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # the daemon must survive a closed stderr


class LineFormatter(logging.Formatter):
    """Renders a record as one logfmt line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= _error_fields(record.exc_info[1])
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _moment(created: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created)) + f".{int(created % 1 * 1000):03d}Z"


def _quoted(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _error_fields(error: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)
    found = {"error": type(error).__name__, "at": " < ".join(f"{each.name}:{each.lineno}" for each in reversed(frames))}
    if isinstance(error, HoldfastError):
        found["reason"], found["text"] = error.reason, error.message
    elif isinstance(error, OSError):
        found["text"] = str(error)
    elif code := getattr(error, "sqlite_errorname", None):
        found["reason"] = str(code)
    return found
