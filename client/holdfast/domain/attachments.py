"""Attachments: files that people add to a task. An attachment is a task's artifact of the type `attachment`."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, cast

from holdfast.blobs.sources import SourceLike
from holdfast.contract.kinds import KINDS
from holdfast.errors import NotFound, VersionMismatch
from holdfast.records.artifacts import Artifacts, ArtifactWrites, stored_content
from holdfast.records.listing import first_message
from holdfast.records.sink import Sink
from holdfast.values import views
from holdfast.values.filters import equal
from holdfast.values.view_classes import view_of
from holdfast.wire.pages import Listing, OnUnreadable, Page
from holdfast.wire.scope import Scope

TYPE = "attachment"
PAGE = 1000


class AttachmentWrites:
    """Writes attachments. Content is uploaded at once."""

    def __init__(self, sink: Sink, artifacts: ArtifactWrites) -> None:
        self._sink = sink
        self._artifacts = artifacts

    def save(
        self,
        task_id: str,
        name: str,
        source: SourceLike,
        /,
        *,
        content_type: str | None = None,
        version: int | None = None,
        **fields: object,
    ) -> views.Artifact:
        """Stores bytes, or the content of a path or a binary file, as the task's attachment of that name.

        It replaces an earlier attachment of that name, which must have `version` if that is given. `content_type` defaults to a
        guess from the name. Raises ParentNotFound when the task does not exist, VersionMismatch.
        """
        about = attachment_fields(task_id, name, {"content_type": content_type, **fields})
        return self._artifacts.save(None, version=version, **stored_content(self._sink.blobs, source, about))

    def delete(self, task_id: str, name: str, /) -> None:
        """Deletes an attachment. Raises NotFound. A transaction fails with VersionMismatch if it changes before the commit."""
        id = str(attachment_fields(task_id, name, {})["id"])
        if self._sink.wrote(KINDS["artifact"], id):
            return self._artifacts.delete(id)
        while True:
            found = _stored(self._sink.scope, task_id, name)
            try:
                return self._artifacts.delete(found.id, version=found.version)
            except VersionMismatch:
                continue  # it was changed after it was read: read it again


class Attachments(AttachmentWrites):
    """The attachments of one workspace's tasks, identified by task and name. Thread-safe."""

    def __init__(self, sink: Sink, artifacts: Artifacts) -> None:
        super().__init__(sink, artifacts)
        self._stored = artifacts

    def get(self, task_id: str, name: str, /) -> views.Artifact:
        """The attachment of that name. Raises NotFound, DataLoss."""
        return _stored(self._sink.scope, task_id, name)

    def list(self, task_id: str, /, *, on_unreadable: OnUnreadable | None = None) -> Listing[views.Artifact]:
        """The attachments of a task, by name."""
        return self._stored.list(filter=_of(task_id), order_by="name", page_size=PAGE, on_unreadable=on_unreadable)

    def page(
        self, task_id: str, /, *, page_size: int = 0, page_token: str = "", on_unreadable: OnUnreadable | None = None
    ) -> Page[views.Artifact]:
        """Returns one page of what `list` yields; see `Records.page`."""
        wanted = _of(task_id)
        return self._stored.page(
            filter=wanted, order_by="name", page_size=page_size, page_token=page_token, on_unreadable=on_unreadable
        )

    def open(self, task_id: str, name: str, /) -> BinaryIO:
        """The content of an attachment as a readable, seekable binary file. Raises NotFound, DataLoss."""
        return self._stored.open(self.get(task_id, name))


def attachment_fields(task_id: str, name: str, fields: dict[str, object]) -> dict[str, object]:
    """Returns the fields of an attachment's artifact, without its content.

    The id is made from the task and a digest of the name, so two clients that save the same name write the same artifact. It uses
    a digest because names may be longer than ids and contain other characters.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return {**fields, "id": f"{TYPE}/{task_id}/{digest[:32]}", "task_id": task_id, "type": TYPE, "name": name}


def _stored(scope: Scope, task_id: str, name: str) -> views.Artifact:
    """The attachment of that name that was written last. Raises NotFound, DataLoss."""
    wanted = _of(task_id, name=name)
    found = first_message(scope, KINDS["artifact"], wanted, "update_time desc")
    if found is None:
        message = f"Task {task_id} has no attachment {name!r}."
        raise NotFound(message, reason="RECORD_NOT_FOUND", metadata={"kind": "artifact"})
    return cast(views.Artifact, view_of(found))


def _of(task_id: str, **wanted: str) -> str:
    if not task_id:
        raise TypeError("attachments: name the task.")
    return equal(task_id=task_id, type=TYPE, **wanted)
