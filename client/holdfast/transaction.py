"""A transaction: steps gathered under the nouns of the store and sent as one commit at the end of the `with` block."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast import mutations
from holdfast.artifacts import Artifacts
from holdfast.checkpoints import Checkpoints, SavedCheckpoint
from holdfast.collection import Records, Scope
from holdfast.domain.attachments import attachment_fields
from holdfast.domain.phase_outputs import placed
from holdfast.domain.specs import spec_fields
from holdfast.domain.states import GateLike, State, state_steps
from holdfast.entries import entry_of
from holdfast.errors import Closed
from holdfast.kinds import KINDS, Kind
from holdfast.sources import SourceLike
from holdfast.transcripts import EntryLike
from holdfast.v1 import entry_pb2, record_pb2
from holdfast.v1.store_service_pb2 import Append, Mutation, MutationResult, StoreServiceCommitResponse

M = TypeVar("M", bound=Message)
Settle = Callable[[MutationResult, StoreServiceCommitResponse], None]


class Transaction:
    """Steps that apply whole or not at all, when the `with` block ends without an exception; with one, nothing is sent.

    What the methods return are messages with their ids, which get their versions and times when the commit is done. Contexts and
    files are uploaded at once and are kept only if the commit names them. At most 1,000 steps. For one thread.
    """

    constructs: StagedRecords[record_pb2.Construct]
    sessions: StagedRecords[record_pb2.Session]
    checkpoints: StagedCheckpoints
    artifacts: StagedArtifacts
    links: StagedRecords[record_pb2.Link]
    tasks: StagedRecords[record_pb2.Task]
    plans: StagedRecords[record_pb2.Plan]
    initiatives: StagedRecords[record_pb2.Initiative]
    bugs: StagedRecords[record_pb2.Bug]
    status_updates: StagedRecords[record_pb2.StatusUpdate]
    design_notes: StagedRecords[record_pb2.DesignNote]
    comments: StagedRecords[record_pb2.Comment]
    gate_decisions: StagedRecords[record_pb2.GateDecision]
    branches: StagedRecords[record_pb2.Branch]
    constitution: StagedRecords[record_pb2.Constitution]
    task_states: StagedRecords[record_pb2.TaskState]
    phase_templates: StagedRecords[record_pb2.PhaseTemplate]
    workflows: StagedRecords[record_pb2.Workflow]
    runs: StagedRecords[record_pb2.Run]
    phase_outputs: StagedPhaseOutputs
    execution_logs: StagedRecords[record_pb2.ExecutionLog]
    interventions: StagedRecords[record_pb2.Intervention]
    patterns: StagedRecords[record_pb2.Pattern]

    def __init__(self, scope: Scope, checkpoints: Checkpoints, artifacts: Artifacts) -> None:
        self.scope = scope
        self.revision = 0
        self._steps: list[Mutation] = []
        self._settles: list[Settle] = []
        self._over = False
        self.transcripts = StagedTranscripts(self)
        special: dict[str, object] = {
            "checkpoint": StagedCheckpoints(self, KINDS["checkpoint"], checkpoints),
            "artifact": StagedArtifacts(self, KINDS["artifact"], artifacts),
            "phase_output": StagedPhaseOutputs(self, KINDS["phase_output"]),
        }
        for kind in KINDS.values():
            setattr(self, kind.noun, special.get(kind.name) or StagedRecords(self, kind))
        self.states = StagedStates(self)
        self.specs = StagedSpecs(self.phase_outputs)
        self.attachments = StagedAttachments(self.artifacts, artifacts)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._check_open()
        self._over = True
        if error is None:
            self._commit()

    def stage(self, step: Mutation, settle: Settle) -> None:
        """Adds a step, and what to do with its result when the commit is done."""
        self._check_open()
        self._steps.append(step)
        self._settles.append(settle)

    def stage_record(self, kind: Kind, step: Mutation, record: record_pb2.Record) -> Any:
        """Adds a step about a record; returns a copy of its message, so that what the caller does to it changes nothing here."""
        shown = kind.message_class()
        shown.CopyFrom(getattr(record, kind.name))
        if kind.id_template and not shown.id:  # type: ignore[attr-defined]
            shown.id = kind.made_id(shown)  # type: ignore[attr-defined]

        def settle(result: MutationResult, answer: StoreServiceCommitResponse) -> None:
            if result.HasField("record"):
                shown.CopyFrom(getattr(result.record, kind.name))
            else:
                _settle_alone(shown, result, answer)

        self.stage(step, settle)
        return shown

    def _check_open(self) -> None:
        if self._over:
            raise Closed("The transaction is over.")

    def _commit(self) -> None:
        if not self._steps:
            self.revision = self.scope.connection.revision
            return
        answer = self.scope.commit(self._steps)
        self.revision = answer.revision
        for settle, result in zip(self._settles, answer.results, strict=True):
            settle(result, answer)


class StagedRecords(Generic[M]):
    """The writing half of a collection, for steps of a transaction."""

    def __init__(self, transaction: Transaction, kind: Kind) -> None:
        self._transaction = transaction
        self._kind = kind

    def create(self, message: M | None = None, /, **fields: object) -> M:
        """Adds a record; returns its message, with the id that it will have."""
        return self._stage_insert(message, fields)

    def update(self, id: str | M, /, *, version: int = 0, **fields: object) -> M:
        """Changes a record; returns a message that has what is given here, and all of the record when the commit is done."""
        step = mutations.update(self._kind, id, version, fields)
        return self._staged(step, step.update.record)

    def save(self, message: M | None = None, /, **fields: object) -> M:
        """Adds the record, or changes the given fields of the one with that id."""
        step = mutations.upsert(self._kind, message, fields)
        return self._staged(step, step.upsert.record)

    def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """Removes a record."""
        self._transaction.stage(mutations.delete(self._kind, id, version, cascade), lambda _result, _answer: None)

    def _stage_insert(self, message: M | None, fields: dict[str, object]) -> M:
        step = mutations.insert(self._kind, message, fields)
        value = getattr(step.insert.record, self._kind.name)
        if not value.id and not self._kind.id_template:
            value.id = self._next_id()
        return self._staged(step, step.insert.record)

    def _next_id(self) -> str:
        return Records[Any](self._transaction.scope, self._kind).next_id()

    def _staged(self, step: Mutation, record: record_pb2.Record) -> M:
        return cast(M, self._transaction.stage_record(self._kind, step, record))


def _settle_alone(shown: Any, result: MutationResult, answer: StoreServiceCommitResponse) -> None:
    """When the answer had no room for the record: what the result tells of it."""
    shown.id, shown.version = result.id, result.version
    shown.update_time.CopyFrom(answer.commit_time)
    if result.version == 1:
        shown.create_time.CopyFrom(answer.commit_time)


class StagedCheckpoints(StagedRecords[record_pb2.Checkpoint]):
    """Checkpoints in a transaction."""

    def __init__(self, transaction: Transaction, kind: Kind, checkpoints: Checkpoints) -> None:
        super().__init__(transaction, kind)
        self._checkpoints = checkpoints
        self._heads: dict[str, str] = {}

    def save(  # type: ignore[override]
        self,
        session_id: str,
        /,
        *,
        context: object,
        parent: str | SavedCheckpoint | None = None,
        **fields: object,
    ) -> record_pb2.Checkpoint:
        """Saves a context, which is uploaded at once; as `Checkpoints.save`, and `parent` may be one of this transaction."""
        context_fields = self._checkpoints.stored_context(session_id, context)
        if parent is None:
            parent = self._heads.get(session_id)
        parent_id = self._checkpoints.parent_of(session_id, parent)
        message = self._stage_insert(None, {**fields, **context_fields, "parent_id": parent_id})
        self._heads[session_id] = message.id
        return message


class StagedArtifacts(StagedRecords[record_pb2.Artifact]):
    """Artifacts in a transaction."""

    def __init__(self, transaction: Transaction, kind: Kind, artifacts: Artifacts) -> None:
        super().__init__(transaction, kind)
        self._artifacts = artifacts

    def put(self, *, source: SourceLike, **fields: object) -> record_pb2.Artifact:
        """Adds an artifact, whose content is uploaded at once; as `Artifacts.put`."""
        return self._stage_insert(None, self._artifacts.stored_content(source, fields))


class StagedPhaseOutputs(StagedRecords[record_pb2.PhaseOutput]):
    """Phase outputs in a transaction."""

    def save(self, message: record_pb2.PhaseOutput | None = None, /, **fields: object) -> record_pb2.PhaseOutput:
        """Adds an output, or changes the given fields of the one of that phase; as `PhaseOutputs.save`."""
        return super().save(message, **placed(message, fields))


class StagedAttachments:
    """Attachments in a transaction."""

    def __init__(self, staged: StagedArtifacts, artifacts: Artifacts) -> None:
        self._staged = staged
        self._artifacts = artifacts

    def save(
        self, task_id: str, name: str, source: SourceLike, /, *, content_type: str | None = None, **fields: object
    ) -> record_pb2.Artifact:
        """Stores a file under a task and a name, whose content is uploaded at once; as `Attachments.save`."""
        about = attachment_fields(task_id, name, {"content_type": content_type, **fields})
        return self._staged.save(None, **self._artifacts.stored_content(source, about))


class StagedSpecs:
    """Specs in a transaction."""

    def __init__(self, phase_outputs: StagedPhaseOutputs) -> None:
        self._phase_outputs = phase_outputs

    def save(self, task_id: str, content: str, /, *, run_id: str | None = None, **fields: object) -> record_pb2.PhaseOutput:
        """Writes the spec of a task; as `Specs.save`."""
        return self._phase_outputs.save(None, **spec_fields(task_id, content, run_id, fields))


class StagedStates:
    """States of tasks in a transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def save(self, task_id: str, /, *, gates: Iterable[GateLike] = (), version: int = 0, **fields: object) -> State:
        """Makes or changes a task's state, with decisions at its gates; as `States.save`. Returns those of its messages."""
        first, *rest = state_steps(task_id, gates, version, fields)
        state = first.update.record if version else first.upsert.record
        message: record_pb2.TaskState = self._transaction.stage_record(KINDS["task_state"], first, state)
        return State(message, tuple(self._decision(step) for step in rest))

    def _decision(self, step: Mutation) -> record_pb2.GateDecision:
        record = step.insert.record if step.HasField("insert") else step.upsert.record
        decision: record_pb2.GateDecision = self._transaction.stage_record(KINDS["gate_decision"], step, record)
        return decision


class StagedTranscripts:
    """Transcript entries in a transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def append(
        self,
        parent_id: str,
        /,
        *,
        role: str,
        content: str = "",
        task_id: str = "",
        phase: str = "",
        iteration: int = 0,
        metadata: object = None,
        time: datetime.datetime | Timestamp | None = None,
        parent_kind: str = "session",
    ) -> entry_pb2.Entry:
        """Appends one entry, which gets its number when the commit is done."""
        fields = {"role": role, "content": content, "task_id": task_id, "phase": phase, "iteration": iteration}
        return self.append_many(parent_id, [{**fields, "metadata": metadata, "time": time}], parent_kind=parent_kind)[0]

    def append_many(
        self,
        parent_id: str,
        entries: Iterable[EntryLike],
        /,
        *,
        parent_kind: str = "session",
        expected_last_number: int | None = None,
    ) -> list[entry_pb2.Entry]:
        """Appends entries, which get their numbers when the commit is done."""
        shown = [entry_of(each) for each in entries]
        append = Append(parent_kind=parent_kind, parent_id=parent_id, entries=shown, expected_last_number=expected_last_number)

        def settle(result: MutationResult, answer: StoreServiceCommitResponse) -> None:
            for number, entry in enumerate(shown, result.first_number):
                entry.number, entry.revision = number, answer.revision
                entry.create_time.CopyFrom(answer.commit_time)

        self._transaction.stage(Mutation(append=append), settle)
        return shown
