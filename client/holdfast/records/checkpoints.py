"""Checkpoints: saves the contexts of sessions and loads them as they were saved."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, BinaryIO, TypeVar

from google.protobuf.message import Message

from holdfast.blobs.session_memory import Content
from holdfast.blobs.uploads import is_file, upload_context, upload_file
from holdfast.errors import NotFound, ParentNotFound
from holdfast.records.collection import Records
from holdfast.records.listing import first_message
from holdfast.records.writes import RecordWrites
from holdfast.v1 import record_pb2
from holdfast.v1.store_service_pb2 import Unreadable
from holdfast.values import mutations, views
from holdfast.values.contexts import BYTES, decode_context, encode_context
from holdfast.values.fields import message_of
from holdfast.values.filters import both, equal, quoted
from holdfast.values.view import restored
from holdfast.wire.pages import Listing, OnUnreadable, Page, raise_unreadable

C = TypeVar("C", bound=views.Checkpoint)


class SavedCheckpoint(views.Checkpoint):
    """A checkpoint: a view with `load()`, which returns the context. Pickled, it becomes a view without `load`."""

    __slots__ = ("_checkpoints",)

    _checkpoints: Checkpoints

    def __init__(self, message: views.Checkpoint | Message, checkpoints: Checkpoints) -> None:
        super().__init__(message_of(message))
        object.__setattr__(self, "_checkpoints", checkpoints)

    def load(self) -> Any:
        """Returns the context as it was saved: bytes, text, or an equal JSON value. Raises DataLoss when it is damaged."""
        return self._checkpoints.load(self)

    def open(self) -> BinaryIO:
        """Returns the bytes of the context as a readable, seekable binary file; see `Checkpoints.open`."""
        return self._checkpoints.open(self)

    def _of(self, message: Message) -> SavedCheckpoint:
        return SavedCheckpoint(message, self._checkpoints)

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (views.Checkpoint, self.message.SerializeToString())


class CheckpointWrites(RecordWrites[C]):
    """Writes checkpoints. The store returns `SavedCheckpoint`, a transaction plain views. Contexts are uploaded at once.

    If a context shares enough bytes with the session's last one, only the bytes that differ are sent.
    """

    def save(
        self,
        session_id: str,
        /,
        *,
        context: object,
        parent: str | views.Checkpoint | None = None,
        name: str = "",
        summary: str = "",
        tags: Iterable[str] = (),
        metadata: object = None,
        id: str = "",
    ) -> C:
        """Saves a context: bytes, text, a JSON value, or the bytes of a binary file or of a path (`Path`), which are streamed.

        It is durable when this returns (in a transaction: after the commit). A file is read from its current position and takes
        constant memory; `load` returns its bytes, `open` streams them. A `str` is a text, never a path.

        `parent` is the checkpoint that this one continues. None selects the checkpoint that this transaction last saved in the
        session, else the one that this client last saved or loaded in it, else the session's latest. An empty string means no
        parent. A JSON value is loaded as an equal value, except that tuples become lists; texts may have lone surrogates.
        Raises ParentNotFound when the session or the parent does not exist; TypeError and InvalidArgument for contexts that
        could not be loaded as they are, or are files open for text; OSError.
        """
        about = {"id": id, "name": name, "summary": summary, "tags": list(tags), "metadata": metadata}
        fields = {**about, **self._stored_context(session_id, context)}
        parent_id = self._parent_of(session_id, parent)
        try:
            return self._insert({**fields, "parent_id": parent_id})
        except ParentNotFound:
            if parent is not None or not parent_id:
                raise
            self._sink.memory.forget(session_id)
            return self._insert({**fields, "parent_id": self._parent_of(session_id, None)})

    def _stored_context(self, session_id: str, context: object) -> dict[str, object]:
        """Uploads a context and returns the checkpoint's fields that describe it."""
        last = self._sink.memory.content(session_id)
        if is_file(context):
            digest = upload_file(self._sink.blobs, context, last, self._kind.name)
            return {"session_id": session_id, "context_digest": digest, "context_type": BYTES}
        data, context_type = encode_context(context)
        content = upload_context(self._sink.blobs, data, last, self._kind.name)
        self._sink.memory.remember_content(session_id, content)
        return {"session_id": session_id, "context_digest": content.digest, "context_type": context_type}

    def _parent_of(self, session_id: str, parent: str | views.Checkpoint | None) -> str:
        """The id of the session's next parent; empty when there is none."""
        if parent is not None:
            return parent if isinstance(parent, str) else parent.id
        if (head := self._sink.memory.head(session_id)) is not None:
            return head
        damaged: list[Unreadable] = []
        wanted = equal(session_id=session_id)
        latest = first_message(self._scope, self._kind, wanted, "number desc", on_unreadable=damaged.append)
        if damaged:
            return damaged[0].id  # it is the latest one, and can be a parent although it cannot be read
        return latest.id if latest is not None else ""

    def _insert(self, fields: dict[str, object]) -> C:
        saved = self._written(mutations.insert(self._kind, None, fields))
        self._sink.memory.remember_head(saved.session_id, saved.id)
        return saved


class Checkpoints(CheckpointWrites[SavedCheckpoint], Records[SavedCheckpoint]):
    """The checkpoints of one workspace. Thread-safe."""

    def load(self, checkpoint: str | views.Checkpoint | record_pb2.Checkpoint, /) -> Any:
        """Returns a checkpoint's context as it was saved. Takes the id or the checkpoint. Raises NotFound, DataLoss."""
        found = self.get(checkpoint) if isinstance(checkpoint, str) else checkpoint
        known = self._sink.memory.content(found.session_id)
        if known is None or known.digest != found.context_digest:
            data = self._sink.blobs.get(found.context_digest) if found.context_digest else b""
            known = Content(found.context_digest, data)
        if known.digest:
            self._sink.memory.remember_content(found.session_id, known)
        self._sink.memory.remember_head(found.session_id, found.id)
        return decode_context(known.data, found.context_type)

    def open(self, checkpoint: str | views.Checkpoint | record_pb2.Checkpoint, /) -> BinaryIO:
        """Returns the bytes of a checkpoint's context as a readable, seekable binary file, which fetches what is read of it.

        Takes the id or the checkpoint. Raises NotFound; reading raises DataLoss for damage.
        """
        found = self.get(checkpoint) if isinstance(checkpoint, str) else checkpoint
        return self._sink.blobs.open(found.context_digest) if found.context_digest else io.BytesIO()

    def latest(self, session_id: str, /, *, tag: str | None = None) -> SavedCheckpoint:
        """Returns the session's newest checkpoint, or the newest one with a tag.

        Raises NotFound when there is none, DataLoss when that checkpoint is damaged.
        """
        for found in self.list(session_id, tag=tag, order_by="number desc", limit=1, on_unreadable=raise_unreadable):
            return found
        tagged = f" with the tag {tag!r}" if tag is not None else ""
        raise NotFound(
            f"Session {session_id} has no checkpoint{tagged}.", reason="RECORD_NOT_FOUND", metadata={"kind": "checkpoint"}
        )

    def list(
        self,
        session_id: str = "",
        /,
        *,
        tag: str | None = None,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[SavedCheckpoint]:
        """Lists the checkpoints of a session (empty: of all), or those with a tag. For the other options see `Records.list`."""
        return self._listed(both(_of(session_id, tag), filter), order_by, page_size, limit, on_unreadable)

    def page(
        self,
        session_id: str = "",
        /,
        *,
        tag: str | None = None,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        on_unreadable: OnUnreadable | None = None,
    ) -> Page[SavedCheckpoint]:
        """Returns one page of what `list` yields; see `Records.page`."""
        wanted = both(_of(session_id, tag), filter)
        return super().page(
            filter=wanted, order_by=order_by, page_size=page_size, page_token=page_token, on_unreadable=on_unreadable
        )

    def _value(self, found: Any) -> SavedCheckpoint:
        return SavedCheckpoint(found, self)


def _of(session_id: str, tag: str | None) -> str:
    """Returns a filter for the checkpoints of a session (empty: of all), or those with a tag."""
    wanted = f"session_id = {quoted(session_id)}" if session_id else ""
    return wanted if tag is None else both(wanted, f"tags:{quoted(tag)}")
