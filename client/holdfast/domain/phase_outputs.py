"""Phase outputs: the results of the phases of runs and tasks, found by phase or by variable."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from google.protobuf.message import Message

from holdfast.blobs.contents import Contents, open_content, text_of, whole_with_texts
from holdfast.contract.ids import can_be_id, hashed_id
from holdfast.contract.kinds import KINDS
from holdfast.errors import AlreadyExists, NotFound, VersionMismatch, WorkspaceNotFound
from holdfast.records.collection import Collection
from holdfast.records.listing import first_message, list_records
from holdfast.records.sink import Step
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import mutations, unfit, views
from holdfast.values.exact import with_texts
from holdfast.values.fields import message_of
from holdfast.values.filters import both, equal
from holdfast.values.mutations import record_of
from holdfast.values.view import copied
from holdfast.wire.pages import Listing, OnUnreadable, raise_unreadable
from holdfast.wire.scope import Scope

PAGE = 1000
CONTENT_BYTES = (2 << 20) - (256 << 10)  # of the 2 MiB that a record may have; the rest is for the other fields


class PhaseOutputWrites(CollectionWrites["views.PhaseOutput"]):
    """Writes phase outputs.

    In a transaction, a method that takes a phase or a variable looks for the output when it is called. If the output changes
    before the commit, the transaction fails with VersionMismatch; if it is deleted, with NotFound.
    """

    def create(self, message: views.PhaseOutput | Message | None = None, /, **fields: object) -> views.PhaseOutput:
        """Adds an output and returns it as stored. Its content has any size: what a record cannot hold is put into a blob.

        An output of a run gets the task of the run. Raises AlreadyExists when the run (or the task itself) has an output of that
        phase or with that variable; ParentNotFound when the run or task does not exist; and InvalidArgument, also when the
        task is not that of the run.
        """
        message, fields = self._storable(message, fields)
        return super().create(message, **placed(message, fields))

    def update(self, id: str | views.PhaseOutput | Message, /, *, version: int = 0, **fields: object) -> views.PhaseOutput:
        """As `update` of every record. A content that a record cannot hold is put into a blob."""
        message, fields = self._storable(None if isinstance(id, str) else id, fields)
        return super().update(id if message is None else message, version=version, **fields)

    def save(
        self, message: views.PhaseOutput | Message | None = None, /, *, version: int | None = None, **fields: object
    ) -> views.PhaseOutput:
        """Adds an output, or changes the given fields of the run's (or task's own) output of that phase; returns it as stored.

        An existing output may be named by its variable instead of its phase; given both, it gets the variable. If another phase
        of the task has the variable, this output replaces it (DataLoss is raised if that one is damaged); if another phase of the
        run has it, AlreadyExists names that output. An output of a run gets the task of the run; InvalidArgument is raised for
        another task. Raises ParentNotFound when the run or task does not exist. `version` is as in the other
        collections, and so are VersionMismatch and NotFound.
        The content has any size: what a record cannot hold is put into a blob.
        """
        message, fields = self._storable(message, fields)
        while True:
            holders = self._holders(message, fields)
            step = self._upsert(message, placed(message, fields, holders), version)
            wanted = record_of(step)
            replaced = {each.id: each for each in holders if wanted is None or each.id != wanted.phase_output.id}
            deletes = [mutations.delete(self._kind, id, self._expected(each), False) for id, each in replaced.items()]
            try:
                return self._written(*deletes, step)
            except (VersionMismatch, NotFound) as error:
                if error.metadata.get("id") not in replaced:
                    raise
            except AlreadyExists as error:
                if error.reason != "KEY_TAKEN" or not own_variable(message, fields)[1]:
                    raise
            # Another client changed those outputs, or gave the variable to one, after they were read: read again.

    def delete(
        self, id: str = "", /, *, run_id: str = "", task_id: str = "", phase: str = "", version: int = 0, cascade: bool = False
    ) -> None:
        """Deletes an output by its id, by run and phase, or by task and phase for a task's own.

        Raises NotFound, VersionMismatch.
        An output of a run that this transaction adds has no id before the commit, so deleting it by phase raises NotFound.
        """
        if id:
            return super().delete(id, version=version, cascade=cascade)
        place = Owner(run_id, task_id), phase
        written = _written_id(self._sink.steps(self._kind), _place, place)
        if written:
            return super().delete(written, version=version, cascade=cascade)
        while True:
            found = first_output(self._scope, place[0], phase=phase)
            expected = self._expected(found) if written is None else 0
            try:
                return super().delete(found.id, version=version or expected, cascade=cascade)
            except VersionMismatch:
                if version:
                    raise
                # It was changed after it was read: read it again.

    def _storable(
        self, message: views.PhaseOutput | Message | None, fields: dict[str, object]
    ) -> tuple[Message | None, dict[str, object]]:
        """The message and fields to store: a content that a record cannot hold is in a blob."""
        settled = None if message is None else self._settled(message, "content" in fields)
        if fields.get("content_digest") and isinstance(fields.get("content"), str):
            fields = {**fields, **self._one_of(str(fields["content"]), str(fields["content_digest"]))}
        content = fields.get("content", "" if settled is None else settled.content)
        if isinstance(content, str) and (digest := self._put_apart(content)):
            fields = {**fields, "content": "", "content_digest": digest}
        return settled, fields

    def _one_of(self, content: str, digest: str) -> dict[str, object]:
        """The fields for a content and a blob that were both given, as `show --json` prints them: the one that counts."""
        both = record_pb2.PhaseOutput(content=unfit.shown(content), content_digest=digest)
        Contents(self._scope.connection).settle(both)
        return {"content": content if both.content else "", "content_digest": both.content_digest}

    def _settled(self, message: views.PhaseOutput | Message, replaced: bool) -> record_pb2.PhaseOutput:
        """A copy that has a content or its blob, not both; neither if the content is replaced."""
        copy: record_pb2.PhaseOutput = copied(message_of(message))
        if replaced:
            copy.ClearField("content_digest")
            copy.ClearField("content")
        Contents(self._scope.connection).settle(copy)
        return copy

    def _put_apart(self, content: str) -> str | None:
        """Puts a content into a blob if a record cannot hold it; returns the digest."""
        fits = len(content) <= CONTENT_BYTES // 4 or len(unfit.bytes_of(content)) <= CONTENT_BYTES
        if fits and not unfit.is_unfit(content) and not unfit.has_surrogates(content):
            return None
        return Contents(self._scope.connection).stored_text(content, self._kind.name)

    def _holders(self, message: views.PhaseOutput | Message | None, fields: Mapping[str, object]) -> list[record_pb2.PhaseOutput]:
        """The task's own outputs that now have the variable of the output to save: one, or more in a store from before 0.4.

        Empty if the output to save belongs to a run or has no variable. Raises DataLoss for a damaged one that would be replaced.
        """
        task_id, variable = own_variable(message, fields)
        if not variable:
            return []
        if written := _written_id(self._sink.steps(self._kind), _variable, (task_id, variable)):
            return [record_pb2.PhaseOutput(id=written)]
        wanted, saved_id = Owner("", task_id).filter(variable=variable), placed(message, fields).get("id")

        def raise_if_replaced(each: Unreadable) -> None:
            if each.id != saved_id:
                raise_unreadable(each)

        try:
            return list(list_records(self._scope, self._kind, message_of, wanted, "", 0, None, raise_if_replaced))
        except WorkspaceNotFound:
            return []


class PhaseOutputs(PhaseOutputWrites, Collection["views.PhaseOutput"]):
    """The phase outputs of one workspace. Thread-safe.

    An output belongs to a run, or to a task itself if it was made without a run; its id is then `{phase}/{task_id}`, or a hash of
    that where a phase's name has blanks. An output of a run has the task of its run. The outputs of a task's runs are not the
    task's own; `for_task` yields both. Each run, and each task itself, has at most one output for a phase and one for a variable.
    Methods take either `run_id`, or `task_id` for a task's own outputs.
    Reads fill in a content that is in a blob. A view is exact there; its message shows U+FFFD for a lone surrogate.
    """

    def text(self, output: views.PhaseOutput | Message, /) -> str:
        """Returns the content of an output exactly as it was given. Raises DataLoss."""
        return text_of(output, self._sink.blobs)

    def open_content(self, output: views.PhaseOutput | Message, /) -> BinaryIO:
        """Returns the content of an output as a readable, seekable binary file of UTF-8. Raises DataLoss."""
        return open_content(output, self._sink.blobs)

    def get(self, id: str = "", /, *, run_id: str = "", task_id: str = "", phase: str = "") -> views.PhaseOutput:
        """Returns an output by its id, or by run and phase, or by task and phase for a task's own.

        Raises NotFound, DataLoss.
        """
        if id:
            return super().get(id)
        return self._value(first_output(self._scope, Owner(run_id, task_id), phase=phase))

    def by_var(self, run_id: str = "", variable: str = "", *, task_id: str = "") -> views.PhaseOutput:
        """Returns the output with a variable: `by_var(run_id, "SPEC")`, `by_var(task_id=…, variable="SPEC")`.

        Raises NotFound, DataLoss.
        """
        return self._value(first_output(self._scope, Owner(run_id, task_id), variable=variable))

    def all(
        self, run_id: str = "", *, task_id: str = "", filter: str = "", on_unreadable: OnUnreadable | None = None
    ) -> Listing[views.PhaseOutput]:
        """Yields the outputs of a run, or a task's own, oldest first."""
        return self._listed(both(Owner(run_id, task_id).filter(), filter), "", PAGE, None, on_unreadable)

    def as_map(self, run_id: str = "", *, task_id: str = "", on_unreadable: OnUnreadable | None = None) -> dict[str, str]:
        """Returns the contents of the outputs of a run, or a task's own, by variable, or by phase for those without one.

        Raises DataLoss if one cannot be read. With `on_unreadable` it is told to that function and left out.
        """
        found = self.all(run_id, task_id=task_id, on_unreadable=on_unreadable or raise_unreadable)
        return {each.variable or each.phase: self.text(each) for each in found}

    def for_task(
        self, task_id: str, /, *, filter: str = "", on_unreadable: OnUnreadable | None = None
    ) -> Listing[views.PhaseOutput]:
        """Yields all outputs of a task, those of its runs and its own, oldest first."""
        return self._listed(both(_asked(task_id=task_id), filter), "", PAGE, None, on_unreadable)

    def exists(self, id: str = "", /, phase: str = "", *, run_id: str = "", task_id: str = "") -> bool:
        """Whether an output exists: `exists(id)`, `exists(run_id, phase)`, or `exists(task_id=…, phase=…)` for a task's own."""
        if id and not phase:
            return super().exists(id)
        wanted = Owner(run_id or id, task_id).filter(phase=phase)
        return first_message(self._scope, self._kind, wanted) is not None

    def _value(self, found: Any) -> views.PhaseOutput:
        """Makes the value that callers get, with a content that is in a blob filled in."""
        if not found.content_digest:
            return super()._value(found)
        message, texts = whole_with_texts(message_of(found), self._sink.blobs)
        return with_texts(super()._value(message), texts)


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of outputs: a run or a task. Raises TypeError unless exactly one is given."""

    run_id: str
    task_id: str

    def __post_init__(self) -> None:
        if bool(self.run_id) == bool(self.task_id):
            raise TypeError("phase_outputs: name the run_id, or for a task's own outputs the task_id, or an id.")

    def __str__(self) -> str:
        return f"Run {self.run_id}" if self.run_id else f"Task {self.task_id}, of its own,"

    def filter(self, **wanted: str) -> str:
        """Returns a filter for the owner's outputs that have these values."""
        owned = equal(run_id=self.run_id) if self.run_id else f'run_id = "" AND {equal(task_id=self.task_id)}'
        return both(owned, _asked(**wanted))


def first_output(scope: Scope, owner: Owner, **wanted: str) -> record_pb2.PhaseOutput:
    """Returns the owner's stored output that has these values. Raises NotFound, DataLoss."""
    found: record_pb2.PhaseOutput | None = first_message(scope, KINDS["phase_output"], owner.filter(**wanted))
    if found is None:
        named = " and ".join(f"{name} {value}" for name, value in wanted.items())
        message = f"{owner} has no phase output with {named}."
        raise NotFound(message, reason="RECORD_NOT_FOUND", metadata={"kind": "phase_output"})
    return found


def _written_id(steps: Sequence[Step], key_of: Callable[[record_pb2.PhaseOutput], Hashable | None], key: Hashable) -> str | None:
    """The id of the output that the steps write under a key; empty if the daemon will assign it, None if no step writes one."""
    deleted = set()
    for mutation in (each.mutation for each in reversed(steps)):
        if (record := record_of(mutation)) is None:
            deleted.add(mutation.delete.id)
        elif key_of(record.phase_output) == key:
            return None if record.phase_output.id in deleted else record.phase_output.id
    return None


def _place(output: record_pb2.PhaseOutput) -> tuple[Owner, str] | None:
    """The owner and the phase of an output; None if the step does not set both."""
    if output.phase and (output.run_id or output.task_id):
        return Owner(output.run_id, "" if output.run_id else output.task_id), output.phase
    return None


def _variable(output: record_pb2.PhaseOutput) -> tuple[str, str] | None:
    """The task and the variable of a task's own output; None for any other output."""
    return (output.task_id, output.variable) if output.task_id and output.variable and not output.run_id else None


def placed(
    message: views.PhaseOutput | Message | None,
    fields: Mapping[str, object],
    before: Sequence[record_pb2.PhaseOutput] = (),
) -> dict[str, object]:
    """Returns the fields; for a task's own output with its id, which without a phase is that of the first in `before`."""
    if not _is_own(message, fields):
        return dict(fields)
    if phase := _value(message, fields, "phase"):
        return {**fields, "id": own_id(str(phase), str(_value(message, fields, "task_id")))}
    return {**fields, "id": before[0].id} if before else dict(fields)


def own_id(phase: str, task_id: str) -> str:
    """Returns the id of a task's own output: `{phase}/{task_id}`, or one made of its hash if that cannot be an id."""
    id = f"{phase}/{task_id}"
    return id if can_be_id(id) else hashed_id("phase", id)


def own_variable(message: views.PhaseOutput | Message | None, fields: Mapping[str, object]) -> tuple[str, str]:
    """Returns the task and the variable of a task's own output; two empty strings for any other output."""
    task_id, variable = (_value(message, fields, name) for name in ("task_id", "variable"))
    return (str(task_id), str(variable)) if variable and _is_own(message, fields) else ("", "")


def _is_own(message: views.PhaseOutput | Message | None, fields: Mapping[str, object]) -> bool:
    """Whether an output has no id and belongs to a task itself, not to a run."""
    id, run_id, task_id = (_value(message, fields, name) for name in ("id", "run_id", "task_id"))
    return bool(task_id) and not id and not run_id


def _value(message: views.PhaseOutput | Message | None, fields: Mapping[str, object], name: str) -> object:
    return fields[name] if name in fields else getattr(message, name, "")


def _asked(**values: str) -> str:
    """A filter for these values. Raises TypeError when one is empty: the filter would match every output."""
    for name, value in values.items():
        if not value:
            raise TypeError(f"phase_outputs: name the {name}, or an id.")
    return equal(**values)
