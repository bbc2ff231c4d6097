"""What every command understands: which store and workspace, how long to wait, and for whom the output is."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

DEFAULT_WORKSPACE = "default"
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """The global options. Without a `socket`, HOLDFAST_SOCKET and then the per-user store decide."""

    socket: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    as_json: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S

    @classmethod
    def of(cls, given: argparse.Namespace) -> Options:
        """The global options among parsed arguments."""
        return cls(given.socket, given.workspace, given.json, given.timeout)
