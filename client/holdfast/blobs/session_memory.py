"""What one client remembers of the sessions it saves checkpoints in.

The last context, so that only what changed since is sent, and the last checkpoint's id, which is the next one's parent.
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
    """The bytes of a context, their digest, and the hash's state from computing it."""

    digest: str
    data: bytes
    hashed: Hashed | None = None


class SessionMemory:
    """Bounded; what was used longest ago is forgotten first. Safe in threads and after a fork."""

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
        """Keeps a context, unless it alone is over the limit."""
        with self._lock:
            self._drop_content(session_id)
            if len(content.data) <= CONTENT_LIMIT_BYTES:
                self._contents[session_id] = content
                self._size += len(content.data)
            while self._size > CONTENT_LIMIT_BYTES:
                self._drop_content(next(iter(self._contents)))

    def remember_head(self, session_id: str, checkpoint_id: str) -> None:
        """Keeps the id of a checkpoint as the one that the next comes from."""
        with self._lock:
            self._heads[session_id] = checkpoint_id
            self._heads.move_to_end(session_id)
            if len(self._heads) > SESSIONS_LIMIT:
                self._heads.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Forgets a session, as when its last checkpoint turned out to be gone."""
        with self._lock:
            self._drop_content(session_id)
            self._heads.pop(session_id, None)

    def _drop_content(self, session_id: str) -> None:
        if (dropped := self._contents.pop(session_id, None)) is not None:
            self._size -= len(dropped.data)


class TransactionMemory:
    """A client's memory as one transaction sees it: contents are shared, the heads that it sets are its own.

    So checkpoints of one transaction follow each other, and the client's heads stay as they were if it fails.
    """

    def __init__(self, memory: SessionMemory) -> None:
        self._memory = memory
        self._heads: dict[str, str] = {}
        self.content = memory.content
        self.remember_content = memory.remember_content
        self.forget = memory.forget

    def head(self, session_id: str) -> str | None:
        """The checkpoint that the transaction saved last in the session, else the one that the client saved or loaded last."""
        return self._heads.get(session_id) or self._memory.head(session_id)

    def remember_head(self, session_id: str, checkpoint_id: str) -> None:
        """Keeps the id of a checkpoint as the one that the transaction's next comes from."""
        self._heads[session_id] = checkpoint_id
