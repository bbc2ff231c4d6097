"""Attachments: files that people add to a task. An attachment is a task's artifact of the type `attachment`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from holdfast.blobs.sources import SourceLike
from holdfast.errors import NotFound
from holdfast.records.artifacts import Artifacts
from holdfast.v1 import record_pb2
from holdfast.values.filters import equal

TYPE = "attachment"
PAGE = 1000


class Attachments:
    """The attachments of one workspace's tasks, each known by its name. Safe in threads."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    def save(
        self, task_id: str, name: str, source: SourceLike, /, *, content_type: str | None = None, **fields: object
    ) -> record_pb2.Artifact:
        """Stores bytes, a path's or a binary file's content under a task and a name, in place of what had that name.

        Unless given, `content_type` is guessed from the name. Raises ParentNotFound when there is no such task.
        """
        about = attachment_fields(task_id, name, {"content_type": content_type, **fields})
        return self._artifacts.save(None, **self._artifacts.stored_content(source, about))

    def get(self, task_id: str, name: str, /) -> record_pb2.Artifact:
        """The attachment of that name. Raises NotFound."""
        found = self._artifacts.first(filter=_of(task_id, name=name), order_by="update_time desc")
        if found is not None:
            return found
        raise NotFound(f"Task {task_id} has no attachment {name!r}.", reason="RECORD_NOT_FOUND", metadata={"kind": "artifact"})

    def list(self, task_id: str, /) -> Iterator[record_pb2.Artifact]:
        """The attachments of a task, by name."""
        return self._artifacts.list(filter=_of(task_id), order_by="name", page_size=PAGE)

    def open(self, task_id: str, name: str, /) -> BinaryIO:
        """The content of an attachment as a readable, seekable binary file. Raises NotFound."""
        return self._artifacts.open(self.get(task_id, name))

    def delete(self, task_id: str, name: str, /) -> None:
        """Removes an attachment. Raises NotFound."""
        self._artifacts.delete(self.get(task_id, name).id)


def attachment_fields(task_id: str, name: str, fields: dict[str, object]) -> dict[str, object]:
    """The fields of the artifact that is an attachment, but for its content.

    One id for a task and a name, so that two who save at once write the same attachment. Names may not fit into ids.
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return {**fields, "id": f"{TYPE}/{task_id}/{digest[:32]}", "task_id": task_id, "type": TYPE, "name": name}


def _of(task_id: str, **wanted: str) -> str:
    if not task_id:
        raise TypeError("attachments: name the task.")
    return equal(task_id=task_id, type=TYPE, **wanted)
