"""A transaction: its collections gather steps, and the end of the `with` block sends them as one commit."""

from __future__ import annotations

from types import TracebackType

from holdfast.contract.kinds import KINDS
from holdfast.domain.attachments import AttachmentWrites
from holdfast.domain.audit import AuditWrites
from holdfast.domain.collections import WRITES
from holdfast.domain.specs import SpecWrites
from holdfast.domain.states import StateWrites
from holdfast.journals.events import EventWrites
from holdfast.journals.transcripts import TranscriptWrites
from holdfast.nouns import TransactionNouns
from holdfast.records.sink import CommitSink
from holdfast.records.steps import Steps
from holdfast.records.writes import CollectionWrites
from holdfast.values import views  # noqa: F401, named in a string: a view class is made when it is first used
from holdfast.wire.scope import Scope


class Transaction(TransactionNouns):
    """Gathers steps and commits them, all or none, when the `with` block ends. After an exception nothing is sent.

    Methods that write have the same names and parameters as in the store; methods that read exist only there. A step that
    depends on stored data (adding a decision, storing a workflow's next version, deleting an attachment) reads the data when it
    is called, and the commit expects the version that was read: if that has changed, the whole commit fails with
    VersionMismatch or AlreadyExists.

    Methods return views that have their ids; the commit fills in versions and times. Contexts and files are uploaded at once
    and are kept only if the commit refers to them. At most 1,000 steps. Not thread-safe.
    """

    def __init__(self, stored: CommitSink, request_id: str = "") -> None:
        self._steps = Steps(stored, request_id)
        for kind in KINDS.values():
            setattr(self, kind.noun, WRITES.get(kind.name, CollectionWrites)(self._steps, kind))
        self.transcripts = TranscriptWrites["views.TranscriptEntry", "list[views.TranscriptEntry]"](self._steps)
        self.events = EventWrites["views.EventEntry"](self._steps)
        self.logs = self.execution_logs
        self.audit = AuditWrites(self._steps)
        self.states = StateWrites(self._steps)
        self.specs = SpecWrites(self.phase_outputs)
        self.attachments = AttachmentWrites(self._steps, self.artifacts)

    @property
    def scope(self) -> Scope:
        """The connection, workspace and actor of the transaction's store."""
        return self._steps.scope

    @property
    def revision(self) -> int:
        """The revision of the commit; 0 before it."""
        return self._steps.revision

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._steps.end(commit=error is None)
