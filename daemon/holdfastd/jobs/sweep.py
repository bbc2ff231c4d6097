"""The sweep: deletes blobs that nothing needs, then their files, and what dead Puts left. Run by the scheduler and `RunJob`.

The row goes into the trash before the file goes: a crash at any step leaves trash, which the next run empties.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfastd.model.call import Call
from holdfastd.model.jobs import JobRun, Progress
from holdfastd.service.blobs.blobs import Blobs

_BATCH = 200


class SweepJob:
    """The job `sweep`. Its counts of bytes are stored bytes."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Sweeps once; a dry run only counts."""
        return _preview(self._blobs, run.progress, run.call) if run.dry_run else _sweep(self._blobs, run.progress, run.call)


class RecoveryJob:
    """The job `recover`: after an unclean stop, while calls are served, deletes files that no row names, trash and tmp."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Recovers once; a dry run only counts."""
        blobs, call = self._blobs, run.call
        if run.dry_run:
            return _preview_recovery(blobs, call)
        orphans = blobs.discard_orphans(call)
        files = _empty_trash(blobs, call)
        temporary = blobs.remove_temporary_files(blobs.dead_temporary_files())
        return {"orphan_files": orphans, "files_deleted": files, "temp_files_deleted": temporary}


def _preview(blobs: Blobs, progress: Progress, call: Call) -> dict[str, int]:
    progress("count", 0, 0)
    counts = blobs.preview_sweep(call)
    waiting = blobs.trash_count(call)
    return {
        "blobs_examined": counts.examined,
        "blobs_deleted": counts.blobs_deleted,
        "bytes_freed": counts.bytes_freed,
        "files_deleted": counts.files_deleted + waiting,
        "temp_files_deleted": len(blobs.dead_temporary_files()),
    }


def _preview_recovery(blobs: Blobs, call: Call) -> dict[str, int]:
    orphans = len(blobs.orphans(call))
    files = orphans + blobs.trash_count(call)
    return {"orphan_files": orphans, "files_deleted": files, "temp_files_deleted": len(blobs.dead_temporary_files())}


def _sweep(blobs: Blobs, progress: Progress, call: Call) -> dict[str, int]:
    blobs.discard_doubtful(call)
    examined = deleted = freed = 0
    while (counts := blobs.sweep_batch(_BATCH, call)).examined:
        examined += counts.examined
        deleted += counts.blobs_deleted
        freed += counts.bytes_freed
        progress("delete blobs", deleted, 0)
    files = _empty_trash(blobs, call)
    progress("delete files", files, files)
    temporary = blobs.remove_temporary_files(blobs.dead_temporary_files())
    return {
        "blobs_examined": examined,
        "blobs_deleted": deleted,
        "bytes_freed": freed,
        "files_deleted": files,
        "temp_files_deleted": temporary,
    }


def _empty_trash(blobs: Blobs, call: Call) -> int:
    emptied = 0
    while page := blobs.trash(call):
        blobs.empty_trash(page, call)
        emptied += len(page)
    return emptied
