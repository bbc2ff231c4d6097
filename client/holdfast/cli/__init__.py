"""The command `holdfast`: a store's daemon, records, contents, transcripts and changes from a shell.

All commands use the client; none opens a file of the store. They need the extra `cli` (click and rich), which the client does
not need. A command's module is imported when the command runs, and rich when a command draws on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRA = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code. `holdfast --help` lists the codes."""
    try:
        from holdfast.cli.entry import run

        return run(list(sys.argv[1:] if arguments is None else arguments))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("holdfast: the command line needs its extra: pip install 'holdfast[cli]'", file=sys.stderr)
        return 1
