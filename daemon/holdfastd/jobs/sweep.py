"""The sweep, and the recovery of blobs after an unclean stop. The scheduler and `RunJob` run both; both return counts by name.

A dry run changes nothing and returns what a run would do now. Bytes are stored bytes.
"""

from __future__ import annotations

from holdfastd.jobs.scheduler import Progress
from holdfastd.model.call import Call
from holdfastd.service.blobs.sweep import BlobSweep

_BATCH = 200


def run(sweep: BlobSweep, dry_run: bool, progress: Progress, call: Call) -> dict[str, int]:
    """Deletes blobs that nothing needs, then their files, then what Puts of unknown outcome and dead processes left."""
    return _preview(sweep, progress, call) if dry_run else _sweep(sweep, progress, call)


def recover(sweep: BlobSweep, dry_run: bool, call: Call) -> dict[str, int]:
    """After an unclean stop: removes the files that no row names, the trash and the temporary files. Runs beside callers."""
    if dry_run:
        orphans = len(sweep.orphans(call))
        return _recovered(orphans, orphans + sweep.trash_count(call), sweep.temporary_count())
    return _recovered(sweep.discard_orphans(call), sweep.empty_trash(call), sweep.remove_temporary_files())


def _recovered(orphans: int, files: int, temporary: int) -> dict[str, int]:
    return {"orphan_files": orphans, "files_deleted": files, "temp_files_deleted": temporary}


def _preview(sweep: BlobSweep, progress: Progress, call: Call) -> dict[str, int]:
    progress("count", 0, 0)
    counts = sweep.preview(call)
    return {
        "blobs_examined": counts.examined,
        "blobs_deleted": counts.blobs_deleted,
        "bytes_freed": counts.bytes_freed,
        "files_deleted": counts.files_deleted + sweep.trash_count(call),
        "temp_files_deleted": sweep.temporary_count(),
    }


def _sweep(sweep: BlobSweep, progress: Progress, call: Call) -> dict[str, int]:
    sweep.discard_doubtful(call)
    examined = deleted = freed = 0
    while (counts := sweep.delete_rows(_BATCH, call)).examined:
        examined += counts.examined
        deleted += counts.blobs_deleted
        freed += counts.bytes_freed
        progress("delete blobs", deleted, 0)
    files = sweep.empty_trash(call)
    progress("delete files", files, files)
    return {
        "blobs_examined": examined,
        "blobs_deleted": deleted,
        "bytes_freed": freed,
        "files_deleted": files,
        "temp_files_deleted": sweep.remove_temporary_files(),
    }
