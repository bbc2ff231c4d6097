"""Compares the rows, files and references of blobs with each other. Changes nothing. The crash tests use it as their oracle.

Rows are read a page at a time, and files without a snapshot. A sweep may delete a blob meanwhile, so a problem is reported only
if the blob's row still exists after the problem was found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import closing

from holdfastd.blobs.codec import Damaged
from holdfastd.blobs.files import BlobFiles
from holdfastd.errors import DataLoss, NotFound
from holdfastd.model.blobs import DELTA, BlobProblem, BlobRow
from holdfastd.model.call import Call
from holdfastd.service.blobs.contents import REBUILD_COPIES, BlobContents, FileMissing
from holdfastd.service.blobs.orphans import orphans
from holdfastd.store import blob_checks
from holdfastd.store import blobs as rows
from holdfastd.store.blobs import Link
from holdfastd.store.engine import Readers

Report = Callable[[str, int, int], None]  # phase, number done, total

_PAGE = 200
_FATE = "the job recover deletes it, but not while a blob's row is damaged"
# The problems of a blob's stored bytes: its subject is the blob's digest.
STORED_PROBLEMS = frozenset({"blob_inline_missing", "blob_size", "blob_missing", "blob_damaged", "blob_unreadable"})


def verify_blobs(
    readers: Readers, contents: BlobContents, files: BlobFiles, read_blobs: bool, report: Report, call: Call
) -> Iterator[BlobProblem]:
    """Yields the problems of rows and references; reports progress in the phases `references` and `blobs`."""
    report("references", 0, 0)
    with readers.snapshot(call) as connection:
        problems = [*blob_checks.dangling_references(connection), *blob_checks.unkept_references(connection)]
        problems += blob_checks.unswept(connection)
        total, references = rows.totals(connection).count, blob_checks.count_references(connection)
    report("references", references, references)
    report("blobs", 0, total)
    yield from problems
    done, after = 0, ""
    while page := _page(readers, after, call):
        for row in page:
            yield from _check(contents, files, row, read_blobs, call)
        done, after = done + len(page), page[-1].digest
        report("blobs", done, max(done, total))


def verify_files(readers: Readers, files: BlobFiles, report: Report, call: Call) -> Iterator[BlobProblem]:
    """Yields the orphans; reports their number in the phase `orphan_files`."""
    paths = orphans(readers, files, call)
    report("orphan_files", len(paths), len(paths))
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # `recover` removed it meanwhile
            size = files.size(path)
            yield BlobProblem("blob_orphan", path, f"no row names this file of {size} bytes; {_FATE}")


def _page(readers: Readers, after: str, call: Call) -> list[BlobRow]:
    with readers.snapshot(call) as connection:
        return rows.page(connection, after, _PAGE)


def _check(contents: BlobContents, files: BlobFiles, row: BlobRow, read_blobs: bool, call: Call) -> Iterator[BlobProblem]:
    call.check()
    if not row.is_intact:
        yield BlobProblem("blob_row_damaged", row.digest, "its row in the database is damaged")
        return
    try:
        link = contents.links(row.digest, call)[0]
    except NotFound:
        return  # swept meanwhile
    except DataLoss as error:
        yield BlobProblem("blob_unreadable", row.digest, str(error))
        return
    problem = _stored_problem(contents, files, link)
    if problem is None and read_blobs:
        problem = _content_problem(contents, link, call)
    if problem is not None and _still_there(contents, link, call):
        yield problem


def _stored_problem(contents: BlobContents, files: BlobFiles, link: Link) -> BlobProblem | None:
    row, content = link
    if not row.path and content is None:
        return BlobProblem("blob_inline_missing", row.digest, "the row names no file, and its bytes are not in the database")
    try:
        size = files.size(row.path) if row.path else len(content or b"")
        if size != row.stored_bytes:
            return BlobProblem("blob_size", row.digest, f"{size} bytes are stored instead of {row.stored_bytes}")
        contents.check_stored(link)
    except (FileNotFoundError, FileMissing):
        return BlobProblem("blob_missing", row.digest, f"the file {row.path} is missing")
    except (Damaged, OSError) as error:
        return BlobProblem("blob_damaged", row.digest, str(error))
    return None


def _content_problem(contents: BlobContents, link: Link, call: Call) -> BlobProblem | None:
    row = link.row
    try:
        if row.codec == DELTA:
            _rebuild(contents, row, call)
        else:
            contents.verify_stream(link, call)
    except (DataLoss, NotFound, FileMissing) as error:
        return BlobProblem("blob_unreadable", row.digest, str(error))
    return None


def _rebuild(contents: BlobContents, row: BlobRow, call: Call) -> None:
    with closing(call.claim.beside()) as claim:
        claim.take_when_free(REBUILD_COPIES * row.size_bytes, call)
        contents.whole(row.digest, call)


def _still_there(contents: BlobContents, link: Link, call: Call) -> bool:
    try:
        return contents.links(link.row.digest, call)[0].row.path == link.row.path
    except NotFound:
        return False
    except DataLoss:
        return True
