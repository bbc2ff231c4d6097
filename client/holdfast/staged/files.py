"""What has content of its own, in a transaction: contents are uploaded at once and kept only if the commit names them."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.blobs.sources import SourceLike
from holdfast.contract.kinds import Kind
from holdfast.domain.attachments import Attachments, attachment_fields
from holdfast.records.artifacts import Artifacts
from holdfast.records.checkpoints import Checkpoints, SavedCheckpoint
from holdfast.staged.records import StagedRecords
from holdfast.staged.steps import Steps
from holdfast.v1 import record_pb2


class StagedCheckpoints(StagedRecords[record_pb2.Checkpoint]):
    """Checkpoints in a transaction."""

    def __init__(self, steps: Steps, kind: Kind, checkpoints: Checkpoints) -> None:
        super().__init__(steps, kind)
        self._checkpoints = checkpoints
        self._heads: dict[str, str] = {}

    def save(  # type: ignore[override]
        self,
        session_id: str,
        /,
        *,
        context: object,
        parent: str | SavedCheckpoint | None = None,
        name: str = "",
        summary: str = "",
        tags: Iterable[str] = (),
        metadata: object = None,
        id: str = "",
    ) -> record_pb2.Checkpoint:
        """Saves a context, which is uploaded at once; as `Checkpoints.save`, and `parent` may be one of this transaction."""
        about = {"id": id, "name": name, "summary": summary, "tags": list(tags), "metadata": metadata}
        fields = {**about, **self._checkpoints.stored_context(session_id, context)}
        if parent is None:
            parent = self._heads.get(session_id)
        parent_id = self._checkpoints.parent_of(session_id, parent)
        message = self._stage_insert(None, {**fields, "parent_id": parent_id})
        self._heads[session_id] = message.id
        return message


class StagedArtifacts(StagedRecords[record_pb2.Artifact]):
    """Artifacts in a transaction."""

    def __init__(self, steps: Steps, kind: Kind, artifacts: Artifacts) -> None:
        super().__init__(steps, kind)
        self._artifacts = artifacts

    def put(self, *, source: SourceLike, **fields: object) -> record_pb2.Artifact:
        """Adds an artifact, whose content is uploaded at once; as `Artifacts.put`."""
        return self._stage_insert(None, self._artifacts.stored_content(source, fields))


class StagedAttachments:
    """Attachments in a transaction."""

    def __init__(self, staged: StagedArtifacts, artifacts: Artifacts, attachments: Attachments) -> None:
        self._staged = staged
        self._artifacts = artifacts
        self._attachments = attachments
        self._saved: set[str] = set()

    def save(
        self, task_id: str, name: str, source: SourceLike, /, *, content_type: str | None = None, **fields: object
    ) -> record_pb2.Artifact:
        """Stores a file under a task and a name, whose content is uploaded at once; as `Attachments.save`."""
        about = attachment_fields(task_id, name, {"content_type": content_type, **fields})
        saved = self._staged.save(None, **self._artifacts.stored_content(source, about))
        self._saved.add(saved.id)
        return saved

    def delete(self, task_id: str, name: str, /) -> None:
        """Removes an attachment of this transaction, or the one that is there now: if it changes meanwhile, VersionMismatch.

        Raises NotFound.
        """
        if (id := str(attachment_fields(task_id, name, {})["id"])) in self._saved:
            self._saved.remove(id)
            self._staged.delete(id)
        else:
            found = self._attachments.get(task_id, name)
            self._staged.delete(found.id, version=found.version)
