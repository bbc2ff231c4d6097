"""Transcript entries in a transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.journals.transcripts import EntryLike
from holdfast.staged.steps import Steps
from holdfast.v1 import entry_pb2
from holdfast.v1.store_service_pb2 import Append
from holdfast.values.entries import entry_of


class StagedTranscripts:
    """Transcript entries in a transaction."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

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
        return self._steps.stage_append(append)
