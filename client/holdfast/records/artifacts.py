"""Artifacts: files that agents produce, each with a record that describes it."""

from __future__ import annotations

from typing import BinaryIO

from holdfast.blobs.collection import Blobs
from holdfast.blobs.sources import SourceLike, source_of
from holdfast.contract.content_types import content_type_of
from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites
from holdfast.v1 import blob_service_pb2, record_pb2
from holdfast.values import views
from holdfast.values.filters import both, quoted
from holdfast.wire.pages import Listing


class ArtifactWrites(CollectionWrites["views.Artifact"]):
    """Writes artifacts. Content is uploaded at once."""

    def put(self, *, source: SourceLike, **fields: object) -> views.Artifact:
        """Uploads a content and creates an artifact for it. `source` is bytes, a path (`str`, `Path`) or a binary file.

        `name` defaults to the path's last part, `content_type` to the name's (`.log` is text, `.diff` text/x-diff). The content
        is sent in constant memory;
        content and record are durable when this returns. Raises ParentNotFound, InvalidArgument (without a name), OSError.
        """
        return self.create(None, **stored_content(self._sink.blobs, source, fields))


class Artifacts(ArtifactWrites, Collection["views.Artifact"]):
    """The artifacts of one workspace. Thread-safe."""

    def of_construct(
        self, construct_id: str, /, *, filter: str = "", order_by: str = "", page_size: int = 0, limit: int | None = None
    ) -> Listing[views.Artifact]:
        """Yields the artifacts of a construct: those that name it, and those that name a session of it.

        The options are those of `list`.
        """
        named = quoted(construct_id)
        wanted = both(f"construct_id = {named} OR session_id.construct_id = {named}", filter)
        return self.list(filter=wanted, order_by=order_by, page_size=page_size, limit=limit)

    def open(self, artifact: str | views.Artifact | record_pb2.Artifact, /) -> BinaryIO:
        """Returns an artifact's content as a readable, seekable binary file. Takes the id or the artifact. Raises NotFound."""
        found = self.get(artifact) if isinstance(artifact, str) else artifact
        return self._sink.blobs.open(found.content_digest)


def stored_content(blobs: Blobs, source: SourceLike, fields: dict[str, object]) -> dict[str, object]:
    """Uploads an artifact's content and returns the artifact's fields, with the digest."""
    chosen = source_of(source)
    about = dict(fields)
    if not about.get("name"):
        about["name"] = chosen.name
    if not about.get("content_type"):
        about["content_type"] = content_type_of(str(about["name"]))
    header = blob_service_pb2.BlobPutHeader(kind="artifact")
    if chosen.size_bytes is not None:
        header.size_bytes = chosen.size_bytes
    return {**about, "content_digest": blobs.upload(header, chosen).digest}
