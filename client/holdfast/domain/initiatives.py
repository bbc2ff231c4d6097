"""Initiatives: larger aims, with their tasks and their decisions."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, cast

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import KINDS
from holdfast.domain.joined import InitiativeFields, Joined
from holdfast.domain.tasks import Tasks
from holdfast.domain.waiting import Waiting
from holdfast.errors import VersionMismatch, WorkspaceNotFound
from holdfast.records.scans import scan
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2
from holdfast.values import views
from holdfast.values.fields import timestamp
from holdfast.values.filters import both, equal, quoted
from holdfast.values.view_classes import view_of
from holdfast.wire.pages import Found, Gaps, Listing, OnUnreadable

TASK_IDS_SINCE = 4  # the API version

TaskLike = Union[str, "views.Task", record_pb2.Task]
InitiativeLike = Union["views.Initiative", Message, "InitiativeTasks"]


@dataclass(frozen=True, slots=True)
class InitiativeTasks(Joined, InitiativeFields):
    """An initiative and its tasks: first those of its `task_ids`, in order, then those that name it as their `initiative_id`.

    The fields of the view are read here too: `found.title` is `found.message.title`. Set them in `message`.
    """

    _others = "tasks"

    message: views.Initiative
    tasks: tuple[views.Task, ...]


class InitiativeWrites(CollectionWrites["views.Initiative"]):
    """Writes initiatives.

    Methods that write fields also take `tasks`: the initiative's tasks in order, as ids, views or messages. They are all of its
    `task_ids` then. A task may be in several initiatives; when it is deleted, it leaves them.
    """

    def create(self, message: InitiativeLike | None = None, /, **fields: object) -> views.Initiative:
        """Adds an initiative and returns it; see `Records.create`. Raises ParentNotFound for a task that does not exist."""
        return super().create(_message(message), **_with_task_ids(fields))

    def update(self, id: str | InitiativeLike, /, *, version: int = 0, **fields: object) -> views.Initiative:
        """Changes an initiative and returns it; see `Records.update`."""
        return super().update(id.message if isinstance(id, InitiativeTasks) else id, version=version, **_with_task_ids(fields))

    def save(self, message: InitiativeLike | None = None, /, *, version: int | None = None, **fields: object) -> views.Initiative:
        """Adds an initiative or changes the given fields of the one with that id, and returns it; see `CollectionWrites.save`.

        Takes what `load` returns, too.
        """
        return super().save(_message(message), version=version, **_with_task_ids(fields))

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
        """Yields the tasks of an initiative: those of its `task_ids`, and those that name it as their `initiative_id`.

        The options and the order are those of `Records.list`; `load` has them in the order of `task_ids`.
        """
        wanted = both(self._of(initiative_id), filter)
        return Tasks(self._sink, KINDS["task"]).list(
            filter=wanted, order_by=order_by, page_size=page_size, limit=limit, on_unreadable=on_unreadable
        )

    def load(self, initiative_id: str, /, *, on_unreadable: OnUnreadable | None = None) -> InitiativeTasks:
        """Returns an initiative and its tasks, as of one revision.

        Raises NotFound, and DataLoss when the initiative cannot be read. A task that cannot be read is left out: it is logged as
        a warning, or given to `on_unreadable`, which may raise.
        """
        gaps = Gaps(on_unreadable)
        asked = ("initiative", equal(id=initiative_id)), ("task", self._of(initiative_id))
        found, tasks = scan(self._scope, *asked, gaps=gaps) if initiative_id else ([], [])
        if not found:
            return InitiativeTasks(self.get(initiative_id), ())  # raises NotFound
        return _joined(found, tasks)[initiative_id]

    def load_all(self, *, on_unreadable: OnUnreadable | None = None) -> Found[InitiativeTasks]:
        """Returns all initiatives with their tasks, by id, as of one revision. Takes two SQL statements however many there are.

        What cannot be read is left out: `unreadable` of the result names it; see `load`.
        Raises ResourceExhausted when initiatives and tasks exceed 256 MiB together; `list` and `tasks` read them page by page.
        """
        gaps = Gaps(on_unreadable)
        found = Found(_joined(*scan(self._scope, ("initiative", ""), ("task", self._of_any()), gaps=gaps)))
        found.unreadable = gaps.unreadable
        return found

    def _of(self, initiative_id: str) -> str:
        """The filter for the tasks of an initiative. Without `task_ids`, as in an older daemon, it is one that has an index."""
        own = equal(initiative_id=initiative_id)
        return f"initiatives:{quoted(initiative_id)} OR {own}" if own and self._names_tasks(initiative_id) else own

    def _names_tasks(self, initiative_id: str) -> bool:
        try:
            return self._has_task_ids() and self.count(f"{equal(id=initiative_id)} AND task_ids:*") > 0
        except WorkspaceNotFound:
            return False

    def _of_any(self) -> str:
        return "initiatives:* OR initiative_id:*" if self._has_task_ids() else "initiative_id:*"

    def _has_task_ids(self) -> bool:
        return self._scope.connection.supports(TASK_IDS_SINCE)


def _joined(initiatives: Iterable[record_pb2.Record], tasks: Sequence[record_pb2.Record]) -> dict[str, InitiativeTasks]:
    """The initiatives with their tasks, by id. tasks: those of all of them, in the order of creation."""
    by_id = {each.task.id: view_of(each.task) for each in tasks}
    own: dict[str, list[str]] = {}
    for each in tasks:
        own.setdefault(each.task.initiative_id, []).append(each.task.id)
    joined = {}
    for record in initiatives:
        found = record.initiative
        ids = dict.fromkeys([*found.task_ids, *own.get(found.id, ())])
        joined[found.id] = InitiativeTasks(view_of(found), tuple(by_id[id] for id in ids if id in by_id))
    return joined


def _message(value: InitiativeLike | None) -> views.Initiative | Message | None:
    return value.message if isinstance(value, InitiativeTasks) else value


def _with_task_ids(fields: Mapping[str, object]) -> dict[str, Any]:
    """The fields with `task_ids` in place of `tasks`. Raises TypeError if both are given."""
    if "tasks" not in fields:
        return dict(fields)
    if "task_ids" in fields:
        raise TypeError("Give the tasks of the initiative as tasks or as task_ids, not as both.")
    others = {name: value for name, value in fields.items() if name != "tasks"}
    tasks = cast(Iterable[TaskLike], fields["tasks"] or ())
    return {**others, "task_ids": [each if isinstance(each, str) else each.id for each in tasks]}


def decided(decision: str, rationale: str, actor: str, time: datetime.datetime | Timestamp | None) -> record_pb2.Decision:
    """Returns a decision; its time defaults to now."""
    when = timestamp(time if time is not None else datetime.datetime.now(datetime.UTC))
    return record_pb2.Decision(decision=decision, rationale=rationale, actor=actor, time=when)
