"""Initiatives: larger aims, with their tasks and their decisions."""

from __future__ import annotations

import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import KINDS
from holdfast.domain.tasks import Tasks
from holdfast.domain.waiting import Waiting
from holdfast.errors import VersionMismatch
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2
from holdfast.values import views
from holdfast.values.fields import timestamp
from holdfast.values.filters import both, equal
from holdfast.wire.pages import Listing, OnUnreadable


class InitiativeWrites(CollectionWrites["views.Initiative"]):
    """Writes initiatives."""

    def decide(
        self,
        initiative_id: str,
        /,
        *,
        decision: str,
        rationale: str = "",
        actor: str = "",
        time: datetime.datetime | Timestamp | None = None,
    ) -> views.Initiative:
        """Adds a decision to an initiative and returns the initiative. Concurrent decisions are all kept.

        `actor` defaults to the client's, `time` to now. Raises NotFound, InvalidArgument. A transaction fails with
        VersionMismatch if the initiative changes before the commit.
        """
        made = decided(decision, rationale, actor or self._scope.actor, time)
        while True:
            found: record_pb2.Initiative = self._sink.read(self._kind, initiative_id)
            try:
                return self.update(initiative_id, version=found.version, decisions=[*found.decisions, made])
            except VersionMismatch:
                continue  # it was changed after it was read: read it again


class Initiatives(InitiativeWrites, Waiting["views.Initiative"]):
    """The initiatives of one workspace. Thread-safe."""

    def tasks(
        self,
        initiative_id: str,
        /,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.Task]:
        """Yields the tasks of an initiative. The options are those of `Records.list`."""
        wanted = both(equal(initiative_id=initiative_id), filter)
        return Tasks(self._sink, KINDS["task"]).list(
            filter=wanted, order_by=order_by, page_size=page_size, limit=limit, on_unreadable=on_unreadable
        )


def decided(decision: str, rationale: str, actor: str, time: datetime.datetime | Timestamp | None) -> record_pb2.Decision:
    """Returns a decision; its time defaults to now."""
    when = timestamp(time if time is not None else datetime.datetime.now(datetime.UTC))
    return record_pb2.Decision(decision=decision, rationale=rationale, actor=actor, time=when)
