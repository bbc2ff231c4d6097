"""Looks at the start for blob files that were removed, such as all of them with their directory.

Looks at a few only, as a start must be quick; `verify` looks at all. A file that is put back is no longer reported. A blob that
is put again gets a new file, and its old file is reported until the next start.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class MissingFiles:
    """Those of some blob files that are missing. Thread-safe.

    data_dir: what `paths` are relative to.
    """

    def __init__(self, data_dir: Path, paths: Iterable[str]) -> None:
        self._data_dir = data_dir
        self._looked_at = tuple(paths)
        self._missing = self._still_missing(self._looked_at)

    def warnings(self) -> list[str]:
        """The warning of `GetStatus`; empty when none of the files is missing any more."""
        self._missing = self._still_missing(self._missing)
        if not self._missing:
            return []
        found = f"At the start, blob files were missing: {len(self._missing)} of {len(self._looked_at)} that were looked for"
        example = self._data_dir / self._missing[0]
        return [f"{found}, such as {example}. Run verify, which names all, and put them back from a backup."]

    def _still_missing(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(each for each in paths if not (self._data_dir / each).exists())
