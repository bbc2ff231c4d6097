"""Finds orphans, the published blob files that no row names. `recover` deletes them, `verify` lists them."""

from __future__ import annotations

import itertools

from holdfastd.blobs.files import BlobFiles
from holdfastd.model.call import Call
from holdfastd.store import blobs as rows
from holdfastd.store.engine import Readers

_PAGE = 500


def orphans(readers: Readers, files: BlobFiles, call: Call) -> list[str]:
    """The paths of the orphans; a crash between rename and commit leaves them.

    Lists some files, then drops the live ones, then the doubtful ones, and reads the rows last. An upload stays live until its
    row is committed or its file is doubtful, so in this order the file of a concurrent Put is never taken for an orphan.
    """
    found: list[str] = []
    scanned = files.scan()
    while paths := list(itertools.islice(scanned, _PAGE)):
        ended = [path for path in paths if not files.is_live(path)]
        found += _unnamed(readers, [path for path in ended if path not in files.doubtful], call)
    return found


def _unnamed(readers: Readers, paths: list[str], call: Call) -> list[str]:
    with readers.snapshot(call) as connection:
        named = rows.named_paths(connection, paths)
    return [path for path in paths if path not in named]
