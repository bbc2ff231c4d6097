"""A client's memory of the sessions in which it saves checkpoints.

For each session: the last context, so that only the bytes that differ are sent next, and the id of the last checkpoint, which
is the parent of the next one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from holdfast.contract.digests import Hashed
from holdfast.wire import forks

CONTENT_LIMIT_BYTES = 64 << 20
SESSIONS_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a context, their digest, and the states of the hash that computed it."""

    digest: str
    data: bytes
    hashed: Hashed | None = None


class SessionMemory:
    """A bounded cache that evicts the least recently used session. Safe in threads and after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._heads: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        forks.register(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def content(self, session_id: str) -> Content | None:
        """The context that was last saved or loaded in the session."""
        with self._lock:
            if (found := self._contents.get(session_id)) is not None:
                self._contents.move_to_end(session_id)
            return found

    def head(self, session_id: str) -> str | None:
        """The checkpoint that was last saved or loaded in the session."""
        with self._lock:
            return self._heads.get(session_id)

    def remember_content(self, session_id: str, content: Content) -> None:
        """Keeps a context, unless it exceeds the limit by itself."""
        with self._lock:
            self._drop_content(session_id)
            if len(content.data) <= CONTENT_LIMIT_BYTES:
                self._contents[session_id] = content
                self._size += len(content.data)
            while self._size > CONTENT_LIMIT_BYTES:
                self._drop_content(next(iter(self._contents)))

    def remember_head(self, session_id: str, checkpoint_id: str) -> None:
        """Keeps the id of a checkpoint as the parent of the session's next one."""
        with self._lock:
            self._heads[session_id] = checkpoint_id
            self._heads.move_to_end(session_id)
            if len(self._heads) > SESSIONS_LIMIT:
                self._heads.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Forgets a session, for example because its last checkpoint was deleted."""
        with self._lock:
            self._drop_content(session_id)
            self._heads.pop(session_id, None)

    def _drop_content(self, session_id: str) -> None:
        if (dropped := self._contents.pop(session_id, None)) is not None:
            self._size -= len(dropped.data)


class TransactionMemory:
    """One transaction's view of the client's memory: it shares the contents and keeps its own heads.

    Each checkpoint of the transaction becomes the parent of the next, and a failed transaction leaves the client's heads as they
    were.
    """

    def __init__(self, memory: SessionMemory) -> None:
        self._memory = memory
        self._heads: dict[str, str] = {}
        self.content = memory.content
        self.remember_content = memory.remember_content
        self.forget = memory.forget

    def head(self, session_id: str) -> str | None:
        """The checkpoint that the transaction last saved in the session, else the one that the client last saved or loaded."""
        return self._heads.get(session_id) or self._memory.head(session_id)

    def remember_head(self, session_id: str, checkpoint_id: str) -> None:
        """Keeps the id of a checkpoint as the parent of the transaction's next one in the session."""
        self._heads[session_id] = checkpoint_id
