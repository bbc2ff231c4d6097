"""A transaction: steps gathered under the nouns of the store and sent as one commit at the end of the `with` block."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.collection import Scope
from holdfast.entries import entry_of
from holdfast.errors import Closed
from holdfast.events import StagedEvents
from holdfast.kinds import KINDS, Kind
from holdfast.staged.files import StagedArtifacts, StagedAttachments, StagedCheckpoints
from holdfast.staged.outputs import StagedPhaseOutputs, StagedSpecs
from holdfast.staged.records import StagedRecords
from holdfast.staged.work import StagedBranches, StagedConstitution, StagedInitiatives, StagedLogs, StagedRuns, StagedStates
from holdfast.staged.workflows import StagedWorkflows
from holdfast.transcripts import EntryLike
from holdfast.v1 import entry_pb2, record_pb2
from holdfast.v1.store_service_pb2 import Append, Mutation, MutationResult, StoreServiceCommitResponse

if TYPE_CHECKING:
    from holdfast.store import Store

Settle = Callable[[MutationResult, StoreServiceCommitResponse], None]


class Transaction:
    """Steps that apply whole or not at all, when the `with` block ends without an exception; with one, nothing is sent.

    What writes has the same name and parameters here as in the store. A step that stands on what is there (a decision added, a
    workflow's next version, an attachment that goes) reads it when it is called, and the commit says which version that was:
    if somebody changes it in between, the whole fails with VersionMismatch or AlreadyExists.

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
    initiatives: StagedInitiatives
    bugs: StagedRecords[record_pb2.Bug]
    status_updates: StagedRecords[record_pb2.StatusUpdate]
    design_notes: StagedRecords[record_pb2.DesignNote]
    comments: StagedRecords[record_pb2.Comment]
    gate_decisions: StagedRecords[record_pb2.GateDecision]
    branches: StagedBranches
    constitution: StagedConstitution
    task_states: StagedRecords[record_pb2.TaskState]
    phase_templates: StagedRecords[record_pb2.PhaseTemplate]
    workflows: StagedWorkflows
    runs: StagedRuns
    phase_outputs: StagedPhaseOutputs
    execution_logs: StagedLogs
    interventions: StagedRecords[record_pb2.Intervention]
    patterns: StagedRecords[record_pb2.Pattern]

    def __init__(self, store: Store, scope: Scope) -> None:
        self.scope = scope
        self.revision = 0
        self._steps: list[Mutation] = []
        self._settles: list[Settle] = []
        self._over = False
        self.transcripts = StagedTranscripts(self)
        self.events = StagedEvents(self.stage_append)
        special = _special(self, store)
        for kind in KINDS.values():
            setattr(self, kind.noun, special.get(kind.name) or StagedRecords(self, kind))
        self.logs = self.execution_logs
        self.states = StagedStates(self)
        self.specs = StagedSpecs(self.phase_outputs)
        self.attachments = StagedAttachments(self.artifacts, store.artifacts, store.attachments)

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

    def stage_append(self, append: Append) -> list[entry_pb2.Entry]:
        """Adds an append; returns copies of its entries, which get their numbers when the commit is done."""
        shown = [entry_pb2.Entry() for _ in append.entries]
        for copy, entry in zip(shown, append.entries, strict=True):
            copy.CopyFrom(entry)

        def settle(result: MutationResult, answer: StoreServiceCommitResponse) -> None:
            for number, entry in enumerate(shown, result.first_number):
                entry.number, entry.revision = number, answer.revision
                entry.create_time.CopyFrom(answer.commit_time)

        self.stage(Mutation(append=append), settle)
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


def _special(transaction: Transaction, store: Store) -> dict[str, StagedRecords[Any]]:
    """The steps of the kinds that have methods of their own."""
    runs = StagedRuns(transaction, KINDS["run"], store.runs)
    return {
        "artifact": StagedArtifacts(transaction, KINDS["artifact"], store.artifacts),
        "branch": StagedBranches(transaction, KINDS["branch"]),
        "checkpoint": StagedCheckpoints(transaction, KINDS["checkpoint"], store.checkpoints),
        "constitution": StagedConstitution(transaction, KINDS["constitution"]),
        "execution_log": StagedLogs(transaction, KINDS["execution_log"], store.execution_logs, runs),
        "initiative": StagedInitiatives(transaction, KINDS["initiative"], store.initiatives),
        "phase_output": StagedPhaseOutputs(transaction, KINDS["phase_output"], store.phase_outputs),
        "run": runs,
        "workflow": StagedWorkflows(transaction, KINDS["workflow"], store.workflows),
    }


def _settle_alone(shown: Any, result: MutationResult, answer: StoreServiceCommitResponse) -> None:
    """When the answer had no room for the record: what the result tells of it."""
    shown.id, shown.version = result.id, result.version
    shown.update_time.CopyFrom(answer.commit_time)
    if result.version == 1:
        shown.create_time.CopyFrom(answer.commit_time)


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
        expected_last_number: int | None = None,
    ) -> entry_pb2.Entry:
        """Appends one entry, which gets its number when the commit is done."""
        fields = {"role": role, "content": content, "task_id": task_id, "phase": phase, "iteration": iteration}
        entry = {**fields, "metadata": metadata, "time": time}
        return self.append_many(parent_id, [entry], parent_kind=parent_kind, expected_last_number=expected_last_number)[0]

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
        made = [entry_of(each) for each in entries]
        append = Append(parent_kind=parent_kind, parent_id=parent_id, entries=made, expected_last_number=expected_last_number)
        return self._transaction.stage_append(append)
