"""What reads met and could not read since the daemon started, for GetStatus. The services of reads note it."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from holdfast.v1 import store_service_pb2 as pb
from holdfastd.store.audits import AUDIT

MOST = 10_000


class Unread:
    """Counts different records, entries and changes, at most MOST. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: set[tuple[str, str, str]] = set()

    @property
    def count(self) -> int:
        """How many were met."""
        return len(self._met)

    def warnings(self) -> list[str]:
        """The warning of the status; empty when nothing was met."""
        if not self._met:
            return []
        return [f"{self.count} records, entries and changes could not be read since the daemon started. Run verify."]

    def note(self, workspace: str, unreadable: Iterable[pb.Unreadable], parent: str = "") -> None:
        """Takes what an answer names as unreadable. parent: what comes before the ids; a Read names its entries by number."""
        met = {(workspace, *_named(each, parent)) for each in unreadable}
        if met:
            with self._lock:
                self._met |= met if len(self._met) + len(met) <= MOST else set(list(met - self._met)[: MOST - len(self._met)])


def _named(each: pb.Unreadable, parent: str) -> tuple[str, str]:
    """Kind and id, so that a change has the same names in a watch as in the audit."""
    if each.revision:
        return AUDIT.name, f"{each.revision}.{each.ordinal + 1}"
    return each.kind, parent + each.id
