"""Connections whose large message or answer did not fit into the memory budget a moment ago.

Receiving a large message, or building a large answer, takes time from all callers, for nothing when it is refused afterwards. Its
caller is told to try again after RETRY_DELAY_S. Until then, or longer after a very large message, `Receipts` receives no
message of the connection, and its reads are refused before their answers are built.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Set

from holdfastd.model.budget import RETRY_DELAY_S, SMALL_BYTES

BYTES_S = 64 * 2**20


class Pauses:
    """Thread-safe. A daemon has one."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # by connection
        self._lock = threading.Lock()

    def begin(self, connection: str, size_bytes: int) -> None:
        """Something of this size was received or built and then refused. Small things begin no pause."""
        if size_bytes < SMALL_BYTES:
            return
        now = time.monotonic()
        with self._lock:
            self._until[connection] = max(self._until.get(connection, now), now) + max(RETRY_DELAY_S, size_bytes / BYTES_S)

    def is_on(self, connection: str) -> bool:
        """Whether this connection pauses now."""
        return bool(self._until) and self._until.get(connection, 0.0) > time.monotonic()

    def connections(self) -> Set[str]:
        """Those that pause, and perhaps some that did a moment ago."""
        return self._until.keys()

    def end_old(self) -> bool:
        """Forgets the pauses that have ended. Returns whether some are left."""
        now = time.monotonic()
        with self._lock:
            self._until = {connection: until for connection, until in self._until.items() if until > now}
            return bool(self._until)
