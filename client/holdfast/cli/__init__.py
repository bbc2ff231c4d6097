"""The command `holdfast`: a store's daemon, records, contents, transcripts and changes from a shell.

Everything goes through the client; no file of a store is opened here. It needs the extra `cli` (click and rich), which the
client does without. A command's module is imported when the command runs, rich when something is drawn on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRA = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; see `holdfast --help` for what the codes mean."""
    try:
        from holdfast.cli.entry import run

        return run(list(sys.argv[1:] if arguments is None else arguments))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("holdfast: the command line needs its extra: pip install 'holdfast[cli]'", file=sys.stderr)
        return 1
