"""How many stored bytes of a blob are kept in the database: one limit for all blobs, and others for chosen kinds and journals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InlineLimits:
    """Limits in bytes; 0: every blob has a file. `by_kind`: those of blobs of which a Put states the kind or journal."""

    default: int = 32 << 10
    by_kind: Mapping[str, int] = field(default_factory=dict)

    def of(self, kind: str) -> int:
        """The limit for the blobs of a kind or journal; the default if it has none of its own, or is empty."""
        return self.by_kind.get(kind, self.default)
