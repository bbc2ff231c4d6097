"""What every command understands: which store and workspace, how long to wait, and for whom the output is."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_WORKSPACE = "default"
DEFAULT_TIMEOUT_S = 30.0


class Options(NamedTuple):
    """The global options. Without a `socket`, HOLDFAST_SOCKET and then the per-user store decide."""

    socket: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    as_json: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
