"""The command `holdfast`: a store's daemon, records, contents, transcripts and changes from a shell.

Everything goes through the client; no file of a store is opened here. What needs gRPC is imported by the command that
needs it, so that help and completion are quick.
"""

from __future__ import annotations

from holdfast.cli.entry import main

__all__ = ["main"]
