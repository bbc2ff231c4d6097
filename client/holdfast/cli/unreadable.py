"""Counts what the daemon could not read, so that a command prints the rest and then exits with 1."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Unreadable(logging.Filter):
    """Counts the log messages of `wire.pages.log_unreadable`, and lets all messages pass."""

    count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets the message pass."""
        self.count += hasattr(record, "unreadable")
        return True


@contextmanager
def counted() -> Iterator[Unreadable]:
    """Counts the records and entries that are reported as unreadable while the context is open."""
    logger, found = logging.getLogger("holdfast"), Unreadable()
    logger.addFilter(found)
    try:
        yield found
    finally:
        logger.removeFilter(found)
