"""Refuses a damaged database, one beside the blobs of another store or the log of another database, and a store whose database
is missing. All of that is known before the database is opened, so a refused start changes nothing.

`--begin-anew` moves away what is foreign, and begins a new store where there is none. `blobs/store_id` says which store the blobs
belong to. Stores made before that file existed get it when they are opened; until then `daemon.json` says it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfastd import durable, logs, quarantine
from holdfastd.blobs.files import OWNER_FILE, published_directories
from holdfastd.errors import DataLoss, SetupError
from holdfastd.quarantine import Quarantine
from holdfastd.settings import Settings
from holdfastd.store.sqlite.inspection import inspect, named_files, refuse_unknown_schema

_ANEW = "run holdfastd --begin-anew, which moves {what} to {quarantine} and {then}"

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """What lies at the paths of a store that is not open yet.

    database_id: the id of the store in the database; empty when there is none. owner: the id of the store that the data
    directory belongs to; empty when it is not known, or when no store was begun in it. has_blobs: whether there are blob files.
    damaged: whether the database cannot be read.
    """

    settings: Settings
    database_id: str
    foreign_log: bool
    owner: str
    has_blobs: bool
    damaged: bool = False

    @property
    def foreign_blobs(self) -> bool:
        """Whether the blobs belong to another store than the database, or the database to no store."""
        return self.has_blobs and self.database_id != (self.owner or self.database_id or "none")

    @property
    def lost_database(self) -> bool:
        """Whether the database of a store is missing or empty. A first start writes the owner only after the database."""
        return not self.database_id and bool(self.owner or self.has_blobs)

    def refuse_foreign(self) -> None:
        """Raises SETUP, with what to do, when the files are not those of one store, or some of them without its database.
        Raises DATA_LOSS when the database is damaged."""
        self._refuse_damaged()
        if self.foreign_log:
            raise SetupError(self._about_log())
        if self.lost_database:
            raise SetupError(self._about_database())
        if self.foreign_blobs:
            raise SetupError(self._about_blobs())

    def begin_anew(self) -> bool:
        """Moves what is foreign into the quarantine. Returns whether anything was. A kill in between leaves the rest in place,
        and the next run moves it.

        When only the log is foreign, that is the log and the blob files that the database does not name. The log goes last: until
        then the next start is refused, so that `recover` does not delete files that only the log names.

        Raises SETUP, and moves nothing, when the database could not be opened or made afterwards, or a mount point would have to
        be moved. Raises DATA_LOSS when the database is damaged.
        """
        self._refuse_damaged()
        self._check_access()
        moved = list(self._foreign_paths())
        if not moved and self.lost_database:
            log.warning("begun_anew", extra={"text": "there were no blob files to move", "last_store": self.owner})
        quarantine.refuse_mount_points(moved)
        target = Quarantine("begun_anew")
        if self.foreign_log and not self.foreign_blobs:
            self._move_unnamed(target)
        for path in moved:
            target.move(path)
        return bool(moved) or self.lost_database

    def move_unnamed(self) -> None:
        """Moves the blob files that the database does not name into the quarantine. `recover` would delete them, but another
        database may name them, such as the one that a backup took the place of."""
        self._move_unnamed(Quarantine("not_as_stopped"))

    def _move_unnamed(self, target: Quarantine) -> None:
        named = named_files(self.settings.database_path, with_log=not self.foreign_log)
        data_dir = self.settings.data_dir
        for directory in blob_directories(self.settings.blobs_dir):
            unnamed = [each for each in os.listdir(directory) if str((directory / each).relative_to(data_dir)) not in named]
            target.move_files(self.settings.blobs_dir, directory, unnamed)
        target.tell_of_files()

    def _refuse_damaged(self) -> None:
        if self.damaged:
            raise damaged_database(self.settings.database_path)

    def _check_access(self) -> None:
        database = self.settings.database_path
        if not os.access(database.parent, os.W_OK | os.X_OK):
            raise SetupError(f"Nothing was moved: {database.parent} cannot be written to. Change its owner, mode or mount.")
        if database.exists() and not os.access(database, os.R_OK | os.W_OK):
            raise SetupError(f"Nothing was moved: {database} cannot be read and written. Change its owner or its mode.")

    def _foreign_paths(self) -> Iterator[Path]:
        database = self.settings.database_path
        if self.foreign_blobs:
            yield self.settings.blobs_dir
        if self.foreign_log:
            beside = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))
            yield from (each for each in beside if each.exists())

    def _about_log(self) -> str:
        database = self.settings.database_path
        state = "belongs to another file than" if self.database_id else "has commits, but there is no store in"
        anew = _ANEW.format(
            what="the log",
            quarantine=quarantine.beside(database),
            then="serves the database without it; with the log go the blobs that this database does not name",
        )
        return (
            f"The log {database}-wal {state} {database}. Put the database of this log back, or, to give its commits up, {anew}."
        )

    def _about_database(self) -> str:
        database, blobs = self.settings.database_path, self.settings.blobs_dir
        named = f"the store {self.owner or '(not known)'}"
        if self.has_blobs:
            found = f"{blobs} has the blobs of {named}"
            anew = _ANEW.format(what="the blobs", quarantine=quarantine.beside(blobs), then="begins a new store")
        else:
            found, anew = f"{self.settings.data_dir} belongs to {named}", "run holdfastd --begin-anew, which begins a new store"
        return f"{database} is missing or empty, but {found}. Put the database back, or, to give that store up, {anew}."

    def _about_blobs(self) -> str:
        database, blobs = self.settings.database_path, self.settings.blobs_dir
        anew = _ANEW.format(what="the blobs", quarantine=quarantine.beside(blobs), then="serves the database without them")
        found = f"{database} is the store {self.database_id}, but {blobs} belongs to {self.owner}."
        return f"{found} Put back what belongs together, or {anew}."


def find_files(settings: Settings, last_id: str) -> StoreFiles:
    """What lies at the store's paths. Changes nothing.

    last_id: the id of the store that `daemon.json` names; empty for none. Call it under the lock of the data directory. Raises
    SETUP when the database is not a regular file, is another program's, or was migrated by a newer version.
    """
    database = settings.database_path
    refuse_unusable(database)
    found = inspect(database)
    if found.readable:
        with naming_damage(database):
            refuse_unknown_schema(database, with_log=not found.foreign_log)
    id = found.store_id if found.readable else None
    return find_store_files(settings, id, found.foreign_log, last_id, damaged=found.damaged)


def find_store_files(
    settings: Settings, database_id: str | None, foreign_log: bool, last_id: str, *, damaged: bool = False
) -> StoreFiles:
    """Looks at the blobs.

    database_id: as in `StoreFiles`; None when the database cannot be read. Then the files count as those of one store, and
    opening the database raises what is wrong. last_id: as in `find_files`. damaged: as in `StoreFiles`.
    """
    owner = _read_owner(settings.blobs_dir) or last_id
    if database_id is None:
        database_id = owner = owner or "unknown"
    has_blobs = any(map(os.listdir, blob_directories(settings.blobs_dir)))
    return StoreFiles(settings, database_id, foreign_log, owner, has_blobs, damaged)


def blob_directories(blobs_dir: Path) -> list[Path]:
    """The directories that have the blob files."""
    return [blobs_dir / each for each in sorted(published_directories(blobs_dir))] if blobs_dir.is_dir() else []


def refuse_unusable(database: Path) -> None:
    """Raises SETUP when something other than a regular file, or than a link to one, is at the database's path."""
    if database.is_symlink() and not database.exists():
        target = os.readlink(database)
        found = f"{database} is a symbolic link to {target}, which does not exist."
        raise SetupError(f"{found} Mount or restore it, or remove the link.")
    if database.exists() and not database.is_file():
        what = "a directory" if database.is_dir() else "not a regular file"
        raise SetupError(f"{database} is {what}. Move it away and put the database file back, or give another path.")


@contextmanager
def naming_damage(database: Path) -> Iterator[None]:
    """Names the file when it is found to be damaged while it is opened. No daemon serves then, so nothing can be verified."""
    try:
        yield
    except DataLoss as error:
        if error.reason != "DATABASE_DAMAGED":
            raise
        raise damaged_database(database) from error


def damaged_database(database: Path) -> DataLoss:
    """The error that names a damaged file, and its log, which may be whole."""
    log = database.with_name(database.name + "-wal")
    found, both = f"{database} is damaged or is not a database.", "the file"
    if log.exists() and log.stat().st_size:
        found = (
            f"{database} is damaged or is not a database, or does not belong to the log {log}. Nothing was changed. Keep both:"
        )
        found += " the log may have the newest commits. Put the database of this log back, or else:"
        both = "both files"
    return DataLoss(
        f"{found} Restore a backup; or move {both} away and run holdfastd --begin-anew, which begins a new store.",
        reason="DATABASE_DAMAGED",
    )


def own_blobs(blobs_dir: Path, store_id: str) -> None:
    """Writes down durably that the blobs belong to this store. Call it before the first blob is stored."""
    if _read_owner(blobs_dir) == store_id:
        return
    try:
        _write_owner(blobs_dir, store_id)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # The next start writes it. Until then `daemon.json` has the id.
        log.warning("disk_full", extra={"text": "the store's id was not written", "path": blobs_dir / OWNER_FILE})


def _write_owner(blobs_dir: Path, store_id: str) -> None:
    temporary = blobs_dir / "tmp" / OWNER_FILE
    temporary.write_text(store_id + "\n")
    durable.sync_file(temporary)
    os.rename(temporary, blobs_dir / OWNER_FILE)
    durable.sync_directory(blobs_dir)


def _read_owner(blobs_dir: Path) -> str:
    try:
        with (blobs_dir / OWNER_FILE).open("rb") as file:
            return file.read(100).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
