"""The jobs `sweep` and `recover`. A run returns counts by name; a dry run returns what a run would count, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfastd import logs
from holdfastd.model.blobs import BlobProblem
from holdfastd.model.jobs import JobRun
from holdfastd.service.blobs.sweep import BlobSweep

_BATCH = 200
_COUNTS = ("blobs_examined", "blobs_deleted", "bytes_freed", "files_deleted", "temp_files_deleted")
_KEEPS = "Nothing is deleted until the database is mended; run verify."

log = logs.logger(__name__)


class SweepJob:
    """Deletes the rows of blobs that nothing needs, then their files, then temporary files that earlier processes left.

    `bytes_freed` counts stored bytes. It deletes nothing while an index hides a reference or a delta: what they need would look
    as if nothing needed it.
    """

    def __init__(self, sweep: BlobSweep) -> None:
        self._sweep = sweep

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Sweeps once. When it deletes nothing because of damage, the result has `damaged_rows`."""
        if damaged := self._sweep.hidden_needs(run.call):
            text = f"{damaged[0].subject}: {damaged[0].message}. {_KEEPS}"
            log.warning("sweep_kept_blobs", extra={"damaged_rows": len(damaged), "text": text})
            return {**dict.fromkeys(_COUNTS, 0), "damaged_rows": len(damaged)}
        return self._preview(run) if run.dry_run else self._delete(run)

    def _preview(self, run: JobRun) -> Mapping[str, int]:
        run.progress("count", 0, 0)
        counts = self._sweep.preview(run.call)
        return {
            "blobs_examined": counts.examined,
            "blobs_deleted": counts.blobs_deleted,
            "bytes_freed": counts.bytes_freed,
            "files_deleted": counts.files_deleted + self._sweep.trash_count(run.call),
            "temp_files_deleted": self._sweep.temporary_count(),
        }

    def _delete(self, run: JobRun) -> Mapping[str, int]:
        self._sweep.discard_doubtful(run.call)
        examined = deleted = freed = 0
        while (counts := self._sweep.delete_rows(_BATCH, run.call)).examined:
            examined += counts.examined
            deleted += counts.blobs_deleted
            freed += counts.bytes_freed
            run.progress("delete blobs", deleted, 0)
        files = self._sweep.empty_trash(run.call)
        run.progress("delete files", files, files)
        temporary = self._sweep.remove_temporary_files()
        self._sweep.sync_unlinks()  # here, so that few are left for the stop
        return {
            "blobs_examined": examined,
            "blobs_deleted": deleted,
            "bytes_freed": freed,
            "files_deleted": files,
            "temp_files_deleted": temporary,
        }


class RecoveryJob:
    """Runs once after an unclean stop, while calls are served. Deletes orphans, files in the trash, and old temporary files.

    Until it has ended without an error, no stop counts as clean, so the next start runs it again. It deletes nothing while the
    row of a blob is damaged: that row may have named a file that looks like an orphan.
    """

    def __init__(self, sweep: BlobSweep) -> None:
        self._sweep = sweep

    def run(self, run: JobRun) -> Mapping[str, int]:
        """Recovers once. When it deletes nothing because of damage, counts the damaged rows and the orphans that it keeps."""
        sweep, call = self._sweep, run.call
        orphans = sweep.orphans(call)
        damaged = sweep.untrusted_rows(orphans, call)
        sweep.keeps_orphans = bool(damaged)
        if damaged:
            return self._keep(orphans, damaged)
        if run.dry_run:
            found, files, temporary = len(orphans), len(orphans) + sweep.trash_count(call), sweep.temporary_count()
        else:
            found, files, temporary = sweep.discard(orphans, call), sweep.empty_trash(call), sweep.remove_temporary_files()
            sweep.sync_unlinks()
            sweep.recovery_is_due = False
        return {"orphan_files": found, "files_deleted": files, "temp_files_deleted": temporary}

    def _keep(self, orphans: Sequence[str], damaged: Sequence[BlobProblem]) -> Mapping[str, int]:
        text = f"{damaged[0].subject}: {damaged[0].message}. {_KEEPS}"
        log.warning("recovery_kept_files", extra={"orphan_files": len(orphans), "damaged_rows": len(damaged), "text": text})
        return {
            "orphan_files": 0,
            "files_deleted": 0,
            "temp_files_deleted": 0,
            "orphan_files_kept": len(orphans),
            "damaged_rows": len(damaged),
        }
