"""A transaction: steps gathered under the nouns of the store and sent as one commit at the end of the `with` block."""

from __future__ import annotations

from types import TracebackType

from holdfast.contract.kinds import KINDS
from holdfast.domain.attachments import AttachmentWrites
from holdfast.domain.collections import WRITES
from holdfast.domain.specs import SpecWrites
from holdfast.domain.states import StateWrites
from holdfast.journals.events import EventWrites
from holdfast.journals.transcripts import TranscriptWrites
from holdfast.nouns import TransactionNouns
from holdfast.records.sink import CommitSink
from holdfast.records.steps import Steps
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import entry_pb2
from holdfast.wire.scope import Scope


class Transaction(TransactionNouns):
    """Steps that apply whole or not at all, when the `with` block ends without an exception; with one, nothing is sent.

    What writes has the same name and parameters here as in the store; what reads is the store's alone. A step that depends on
    what is there (a decision added, a workflow's next version, an attachment deleted) reads it when it is called, and the commit
    says which version that was: if it changes in between, the whole fails with VersionMismatch or AlreadyExists.

    What the methods return are messages with their ids, which get their versions and times when the commit is done. Contexts and
    files are uploaded at once and are kept only if the commit names them. At most 1,000 steps. For one thread.
    """

    def __init__(self, stored: CommitSink) -> None:
        self._steps = Steps(stored)
        for kind in KINDS.values():
            setattr(self, kind.noun, WRITES.get(kind.name, CollectionWrites)(self._steps, kind))
        self.transcripts = TranscriptWrites[entry_pb2.Entry, list[entry_pb2.Entry]](self._steps)
        self.events = EventWrites[entry_pb2.Entry](self._steps)
        self.logs = self.execution_logs
        self.states = StateWrites(self._steps)
        self.specs = SpecWrites(self.phase_outputs)
        self.attachments = AttachmentWrites(self._steps, self.artifacts)

    @property
    def scope(self) -> Scope:
        """The connection, the workspace and the actor of the store that the transaction belongs to."""
        return self._steps.scope

    @property
    def revision(self) -> int:
        """The revision of the commit, once it is done."""
        return self._steps.revision

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._steps.end(commit=error is None)
