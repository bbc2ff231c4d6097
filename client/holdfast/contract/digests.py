"""SHA-256 of growing contents: a prefix that two contents share is hashed once.

A copy of the hash's state is kept after every 64 KiB. Hashing a content that shares a prefix with an earlier one resumes from
the last state within that prefix. Used for the client's contexts and the daemon's deltas: of 204 growing contexts (330 MB
together) 10 MB are hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

STEP_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Hashed:
    """The digest of a content, and the states of its hash after each 64 KiB."""

    digest: str
    states: tuple[_Hash, ...]


def hash_content(content: bytes, like: Hashed | None = None, shared_bytes: int = 0) -> Hashed:
    """Hashes a content whose first `shared_bytes` bytes equal those of the content that `like` was made from."""
    states = list(like.states[: shared_bytes // STEP_BYTES]) if like is not None else []
    state = states[-1].copy() if states else hashlib.sha256()
    view = memoryview(content)
    for start in range(len(states) * STEP_BYTES, len(content) - STEP_BYTES + 1, STEP_BYTES):
        state.update(view[start : start + STEP_BYTES])
        states.append(state.copy())
    state.update(view[len(states) * STEP_BYTES :])
    return Hashed(f"sha256:{state.hexdigest()}", tuple(states))
