"""The global options of every command: the store, the workspace, the timeout, and the output format."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_WORKSPACE = "default"
DEFAULT_TIMEOUT_S = 30.0


class Options(NamedTuple):
    """The global options. `socket` defaults to HOLDFAST_SOCKET, else to the per-user store."""

    socket: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    as_json: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
