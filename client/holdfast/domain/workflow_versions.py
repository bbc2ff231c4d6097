"""Writes workflows: every write adds a version, which may have an earlier one as its parent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from holdfast.contract.kinds import Kind
from holdfast.domain.workflow_additions import Additions, Version, number_of, record_id
from holdfast.errors import AlreadyExists, HasDependents, InvalidArgument, NotFound, ParentNotFound, WorkspaceNotFound
from holdfast.records.listing import list_records
from holdfast.records.sink import Sink
from holdfast.records.writes import RecordWrites
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import mutations, views
from holdfast.values.fields import fill, message_of, plain
from holdfast.values.filters import equal
from holdfast.wire.pages import LARGEST_PAGE, Listing, raise_unreadable

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_MADE_BY_THE_STORE = ("id", "version", "create_time", "update_time", "workflow_version", "parent_version")

P = TypeVar("P", record_pb2.WorkflowPhase, record_pb2.WorkflowVariable)
Edit = Callable[[record_pb2.Workflow], object]
# Makes the version to add from the latest one, or from None if there is none.
Following = Callable[[record_pb2.Workflow | None], record_pb2.Workflow]


class WorkflowWrites(RecordWrites["views.Workflow"]):
    """Writes workflows.

    In a transaction, a method that adds a version reads the latest one when it is called, and the commit expects the number that
    follows it: if another client adds a version before the commit, the transaction fails with AlreadyExists.
    """

    def __init__(self, sink: Sink, kind: Kind) -> None:
        super().__init__(sink, kind)
        self._additions = Additions(sink, kind)

    def create(self, message: views.Workflow | Message | None = None, /, **fields: object) -> views.Workflow:
        """Adds a version and returns it, even if its content equals the latest version's; see `store`.

        Raises ParentNotFound when the parent does not exist, InvalidArgument; AlreadyExists when a given id is not the next one.
        """
        step = mutations.insert(self._kind, message, fields)
        wanted = step.insert.record.workflow
        self._check_parent(wanted.workflow_id, wanted.parent_version)
        return self._written(step)

    def delete(self, id: str, /, version: int = 0, *, cascade: bool = False) -> None:
        """Deletes one version, named as in `get`. Its number is not reused.

        Raises NotFound; HasDependents when it has runs, or when other versions come from it. With `cascade` those versions stay,
        without a parent.
        """
        super().delete(named_record(id, version), cascade=cascade)

    def delete_all(self, workflow_id: str, /) -> None:
        """Deletes a workflow with all its versions, in one commit. Their numbers are not reused.

        Raises NotFound when it has no version; HasDependents when a version has runs, and DataLoss when one is damaged (`delete`
        deletes it), and then deletes none.
        """
        deadline = time.monotonic() + self._scope.connection.timeout_s
        while True:
            steps = [mutations.delete(self._kind, id, 0, False) for id in self._youngest_first(named(workflow_id))]
            if not steps:
                raise no_version(workflow_id)
            try:
                if self._sink.deferred:
                    for each in steps:
                        self._sink.write(each)
                else:
                    self._sink.write(*steps)
                return
            except (NotFound, HasDependents) as error:  # another client deleted a version, or added one
                if set(error.metadata) - {"kind", "id", self._kind.name} or time.monotonic() >= deadline:
                    raise

    def _youngest_first(self, workflow_id: str) -> list[str]:
        """The ids of all versions, with the steps so far applied, the highest number first: a version's parent comes after it."""
        added, deleted = self._additions.versions(workflow_id), self._additions.deleted()
        stored: Iterator[record_pb2.Workflow]
        wanted = equal(workflow_id=workflow_id)
        by_number = "workflow_version desc"

        def raise_if_kept(each: Unreadable) -> None:
            if each.id not in deleted:
                raise_unreadable(each)

        stored = list_records(self._scope, self._kind, message_of, wanted, by_number, LARGEST_PAGE, None, raise_if_kept)
        try:
            return [each.wanted.id for each in reversed(added)] + [each.id for each in stored if each.id not in deleted]
        except WorkspaceNotFound:
            return [each.wanted.id for each in reversed(added)]

    def store(
        self,
        workflow_id: str,
        message: views.Workflow | Message | None = None,
        /,
        *,
        parent_version: int | None = None,
        **fields: object,
    ) -> views.Workflow:
        """Adds the next version of a workflow and returns it. The message and the fields are its whole content.

        If the content equals the latest version's, nothing is added and the latest version is returned. The parent is
        `parent_version` (0: none), also that of a message which was not read from the store; by default the version of this
        workflow that the message was read from, while it exists, else the latest. Concurrent calls each add a version.
        Raises ParentNotFound when `parent_version` does not exist; InvalidArgument, also for fields that the store sets, such as
        `workflow_version`; DataLoss when the latest version is damaged; AlreadyExists when other clients added versions first
        until the timeout.
        """
        _refuse_made(fields)
        wanted = _made(named(workflow_id), message, fields)
        origin, named_parent = _origin(workflow_id, message)
        parent_version = parent_version if parent_version is not None else named_parent
        self._check_parent(workflow_id, parent_version)

        def following(latest: record_pb2.Workflow | None) -> record_pb2.Workflow:
            before = latest.workflow_version if latest is not None else 0
            from_origin = origin and latest is not None and (origin == before or self._has(workflow_id, origin))
            default = origin if from_origin else before
            wanted.parent_version = default if parent_version is None else parent_version
            return wanted

        return self._next(workflow_id, following)

    def save(
        self,
        message: views.Workflow | Message | None = None,
        /,
        *,
        workflow_id: str = "",
        parent_version: int | None = None,
        **fields: object,
    ) -> views.Workflow:
        """Calls `store` with the workflow that the field or the message names: `save(workflow_id="ship", …)`."""
        of_message = str(getattr(message, "workflow_id", ""))
        return self.store(workflow_id or of_message, message, parent_version=parent_version, **fields)

    def set_phase(self, workflow_id: str, name: str, /, *, base_version: int | None = None, **fields: object) -> views.Workflow:
        """Adds a version that copies `base_version` (default: the latest) and changes the phase of that name, or appends it.

        Concurrent changes of the latest version are all kept. Raises NotFound when the version does not exist, DataLoss when
        it or the latest is damaged, InvalidArgument.
        """
        return self._derive(
            workflow_id, base_version, lambda workflow: fill(_part(workflow.phases, name), "workflow.phases", fields)
        )

    def remove_phase(self, workflow_id: str, name: str, /, *, base_version: int | None = None) -> views.Workflow:
        """Adds a version that copies `base_version` without that phase. Raises NotFound for a missing version or phase."""
        return self._derive(workflow_id, base_version, lambda workflow: _remove(workflow, workflow.phases, "phase", name))

    def set_variable(
        self, workflow_id: str, name: str, /, *, base_version: int | None = None, **fields: object
    ) -> views.Workflow:
        """Adds a version that copies `base_version` and changes the variable of that name, or appends it; see `set_phase`."""
        return self._derive(
            workflow_id, base_version, lambda workflow: fill(_part(workflow.variables, name), "workflow.variables", fields)
        )

    def remove_variable(self, workflow_id: str, name: str, /, *, base_version: int | None = None) -> views.Workflow:
        """Adds a version that copies `base_version` without that variable; see `remove_phase`."""
        return self._derive(workflow_id, base_version, lambda workflow: _remove(workflow, workflow.variables, "variable", name))

    def _next(self, workflow_id: str, following: Following) -> views.Workflow:
        """Adds the version that `following` makes from the latest one, unless their contents are equal.

        The number of the new version makes the daemon refuse it if another version was added meanwhile.
        """
        # In a transaction, read the last number before the latest version: a version stored in between makes the commit fail.
        last_number = self._additions.last_number(workflow_id)
        deadline = time.monotonic() + self._scope.connection.timeout_s
        while True:
            latest = self._latest(workflow_id)
            wanted = following(latest.wanted if latest is not None else None)
            if latest is not None and says_the_same(latest.wanted, wanted):
                return latest.shown
            last_number = max(last_number, latest.wanted.workflow_version if latest is not None else 0)
            try:
                made = self._written(mutations.insert(self._kind, _placed_after(last_number, wanted), {}))
                made.workflow_version = last_number + 1  # in a transaction, the daemon sets it only at the commit
                return made
            except AlreadyExists as error:  # another client added a version first, or the last ones were deleted
                if time.monotonic() >= deadline:
                    raise
                last_number = _number_before(error)
            except ParentNotFound:
                if latest is None or wanted.parent_version != latest.wanted.workflow_version or time.monotonic() >= deadline:
                    raise
                # Another client deleted the latest version, from which this one was made: read again.

    def _latest(self, workflow_id: str) -> Version | None:
        """The latest version; in a transaction, with the steps so far applied. Raises DataLoss if it is damaged."""
        if added := self._additions.versions(workflow_id):
            return added[-1]
        deleted, by_number = self._additions.deleted(), "workflow_version desc"
        wanted = equal(workflow_id=named(workflow_id))
        stored: Listing[record_pb2.Workflow]
        stored = list_records(self._scope, self._kind, message_of, wanted, by_number, 0, 1 + len(deleted), lambda _: None)
        try:
            latest = next((each for each in stored if each.id not in deleted), None)
        except WorkspaceNotFound:
            return None
        for damaged in stored.unreadable:  # of the pages up to the one of `latest`, so some may be older
            if damaged.id not in deleted and (latest is None or number_of(damaged.id) > latest.workflow_version):
                raise_unreadable(damaged)
        return None if latest is None else Version(latest, self._value(latest))

    def _numbered(self, workflow_id: str, number: int) -> record_pb2.Workflow:
        """The message of the version with that number. Raises NotFound."""
        id = record_id(workflow_id, number)
        for each in self._additions.versions(workflow_id):
            if each.wanted.id == id:
                return each.wanted
        found: record_pb2.Workflow = self._sink.read(self._kind, id)
        return found

    def _has(self, workflow_id: str, number: int) -> bool:
        """Whether the version exists, with the steps so far applied."""
        try:
            return self._numbered(workflow_id, number).id not in self._additions.deleted()
        except NotFound:
            return False

    def _derive(self, workflow_id: str, base_version: int | None, change: Edit) -> views.Workflow:
        fixed = None if base_version is None else self._numbered(workflow_id, base_version)

        def following(latest: record_pb2.Workflow | None) -> record_pb2.Workflow:
            base = latest if fixed is None else fixed
            if base is None:
                raise no_version(workflow_id)
            derived = _made(workflow_id, base, {})
            change(derived)
            derived.parent_version = base.workflow_version
            return derived

        return self._next(named(workflow_id), following)

    def _check_parent(self, workflow_id: str, number: int | None) -> None:
        """Raises ParentNotFound unless the parent version exists. 0 means no parent."""
        if not number:
            return
        try:
            self._numbered(workflow_id, number)
        except NotFound:
            raise ParentNotFound(
                f"parent_version names version {number} of workflow {workflow_id}, which does not exist.",
                metadata={"field": "parent_version", "kind": "workflow", "id": record_id(workflow_id, number)},
            ) from None


def named_record(id: str, version: int) -> str:
    """Returns the id of a version's record; `id` is the workflow, or the record if `version` is 0."""
    return record_id(id, version) if version else id


def no_version(workflow_id: str) -> NotFound:
    """Returns the error for a workflow without versions."""
    message = f"Workflow {workflow_id} has no version."
    return NotFound(message, reason="RECORD_NOT_FOUND", metadata={"kind": "workflow", "id": workflow_id})


def says_the_same(one: record_pb2.Workflow, other: record_pb2.Workflow) -> bool:
    """Whether two versions have the same content, without regard to ids, numbers and times."""
    return _said(one) == _said(other)


def _placed_after(last_number: int, wanted: record_pb2.Workflow) -> record_pb2.Workflow:
    """A copy with the id of the version after `last_number`. The daemon refuses it with AlreadyExists if that id is taken."""
    placed = record_pb2.Workflow()
    placed.CopyFrom(wanted)
    placed.ClearField("workflow_version")  # the daemon sets it
    placed.id = record_id(placed.workflow_id, last_number + 1)
    return placed


def named(workflow_id: str) -> str:
    """Returns the workflow's name. Raises TypeError if it is empty, because a filter with it would match every workflow."""
    if not workflow_id:
        raise TypeError("workflows: name the workflow.")
    return workflow_id


def _made(workflow_id: str, message: views.Workflow | Message | None, fields: Mapping[str, object]) -> record_pb2.Workflow:
    made = record_pb2.Workflow()
    if message is not None:
        made.CopyFrom(message_of(message))
    fill(made, "workflow", fields)
    for name in _MADE_BY_THE_STORE:
        made.ClearField(name)  # type: ignore[arg-type]
    made.workflow_id = workflow_id
    return made


def _origin(workflow_id: str, message: views.Workflow | Message | None) -> tuple[int, int | None]:
    """The number of this workflow's version that a message was read from, or 0; else the parent that it names, or None."""
    found = message_of(message)
    if not isinstance(found, record_pb2.Workflow) or found.workflow_id not in (workflow_id, ""):
        return 0, None
    return (found.workflow_version, None) if found.workflow_version else (0, found.parent_version or None)


def _refuse_made(fields: Mapping[str, object]) -> None:
    """Raises InvalidArgument for a field that the caller cannot choose."""
    for name in _MADE_BY_THE_STORE:
        if fields.get(name):
            said = f"workflow.{name} is set by the store. Leave it out; parent_version names the version to start from."
            raise InvalidArgument(said, reason="OUTPUT_ONLY", metadata={"kind": "workflow", "field": name})


def _said(workflow: record_pb2.Workflow) -> str:
    """The content of a version as JSON text. Text is compared because 1, 1.0 and True are equal in Python but differ in JSON."""
    content = {name: value for name, value in plain(workflow).items() if name not in _MADE_BY_THE_STORE}
    return json.dumps(content, sort_keys=True)


def _part(parts: RepeatedCompositeFieldContainer[P], name: str) -> P:
    """Returns the part with that name; adds it if there is none."""
    for each in parts:
        if each.name == name:
            return each
    added = parts.add()
    added.name = name
    return added


def _remove(workflow: record_pb2.Workflow, parts: RepeatedCompositeFieldContainer[P], noun: str, name: str) -> None:
    for each in parts:
        if each.name == name:
            parts.remove(each)
            return
    message = f"Workflow {workflow.workflow_id} has no {noun} {name!r}."
    raise NotFound(message, reason="RECORD_NOT_FOUND", metadata={"name": name})


def _number_before(error: AlreadyExists) -> int:
    """The number before the one that the daemon's error names as the next."""
    return number_of(error.metadata["next_id"]) - 1
