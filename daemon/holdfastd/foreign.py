"""Refuses a database beside the blobs of another store or the log of another database, and a store whose database is missing.
`--begin-anew` moves away what is foreign and begins a new store.

`blobs/store_id` says which store the blobs belong to. Stores made before that file existed get it when they are opened; until
then `daemon.json` says it. The quarantine is `quarantine/TIME` beside what is moved; the daemon never deletes it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfastd import durable, failpoints, logs
from holdfastd.blobs.files import OWNER_FILE, published_directories
from holdfastd.errors import DataLoss, SetupError
from holdfastd.settings import Settings

_ANEW = "run holdfastd --begin-anew, which moves {what} to {quarantine} and {then}"

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """What lies at the paths of a store that is not open yet.

    database_id: the id of the store in the database; empty when there is none. owner: the id of the store that the data
    directory belongs to; empty when it is not known, or when no store was begun in it. has_blobs: whether there are blob files.
    """

    settings: Settings
    database_id: str
    foreign_log: bool
    owner: str
    has_blobs: bool

    @property
    def foreign_blobs(self) -> bool:
        """Whether the blobs belong to another store than the database, or the database to no store."""
        return self.has_blobs and self.database_id != (self.owner or self.database_id or "none")

    @property
    def lost_database(self) -> bool:
        """Whether the database of a store is missing or empty. A first start writes the owner only after the database."""
        return not self.database_id and bool(self.owner or self.has_blobs)

    def refuse_foreign(self) -> None:
        """Raises SETUP, with what to do, when the files are not those of one store, or some of them without its database."""
        if self.foreign_log:
            raise SetupError(self._about_log())
        if self.lost_database:
            raise SetupError(self._about_database())
        if self.foreign_blobs:
            raise SetupError(self._about_blobs())

    def begin_anew(self) -> None:
        """Moves what is foreign into the quarantine. A kill in between leaves the rest in place, and the next run moves it.

        Raises SETUP, and moves nothing, when the database could not be opened or made afterwards, or a mount point would have to
        be moved.
        """
        self._check_access()
        moved = list(self._foreign_paths())
        if not moved and self.lost_database:
            log.warning("begun_anew", extra={"text": "there were no blob files to move", "last_store": self.owner})
        for path in moved:
            if os.path.ismount(path):
                raise SetupError(
                    f"{path} is a mount point, so it cannot be moved. Unmount it, or move its files away, and start again."
                )
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        for path in moved:
            self._move(path, next(each for each in _numbered(_quarantine_of(path) / name) if not (each / path.name).exists()))

    def _move(self, path: Path, target: Path) -> None:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.sync_directory(path.parent)
        durable.sync_directory(target.parent)
        try:
            os.rename(path, target / path.name)
        except OSError as error:  # such as EXDEV from overlayfs
            raise SetupError(f"{path} cannot be moved to {target}: {error.strerror}. Move it away and start again.") from error
        failpoints.hit("begin_anew.moved")
        durable.sync_directory(target)
        durable.sync_directory(path.parent)
        log.warning("begun_anew", extra={"moved": path.name, "quarantine": target})

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
        anew = _ANEW.format(what="the log", quarantine=_quarantine_of(database), then="serves the database without it")
        return (
            f"The log {database}-wal {state} {database}. Put the database of this log back, or, to give its commits up, {anew}."
        )

    def _about_database(self) -> str:
        database, blobs = self.settings.database_path, self.settings.blobs_dir
        named = f"the store {self.owner or '(not known)'}"
        if self.has_blobs:
            found = f"{blobs} has the blobs of {named}"
            anew = _ANEW.format(what="the blobs", quarantine=_quarantine_of(blobs), then="begins a new store")
        else:
            found, anew = f"{self.settings.data_dir} belongs to {named}", "run holdfastd --begin-anew, which begins a new store"
        return f"{database} is missing or empty, but {found}. Put the database back, or, to give that store up, {anew}."

    def _about_blobs(self) -> str:
        database, blobs = self.settings.database_path, self.settings.blobs_dir
        anew = _ANEW.format(what="the blobs", quarantine=_quarantine_of(blobs), then="serves the database without them")
        found = f"{database} is the store {self.database_id}, but {blobs} belongs to {self.owner}."
        return f"{found} Put back what belongs together, or {anew}."


def find_store_files(settings: Settings, database_id: str | None, foreign_log: bool, last_id: str) -> StoreFiles:
    """Looks at the blobs.

    database_id: as in `StoreFiles`; None when the database cannot be read. Then the files count as those of one store, and
    opening the database raises what is wrong. last_id: the id of the store that `daemon.json` names; empty for none.
    """
    owner = _read_owner(settings.blobs_dir) or last_id
    if database_id is None:
        database_id = owner = owner or "unknown"
    return StoreFiles(settings, database_id, foreign_log, owner, has_blobs=_has_blobs(settings.blobs_dir))


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
        raise DataLoss(
            f"{database} is damaged or is not a database. Restore a backup; or move the file away and run "
            "holdfastd --begin-anew, which begins a new store.",
            reason=error.reason,
        ) from error


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


def _has_blobs(blobs_dir: Path) -> bool:
    return blobs_dir.is_dir() and any(os.listdir(blobs_dir / each) for each in published_directories(blobs_dir))


def _quarantine_of(path: Path) -> Path:
    """Beside the path: a rename does not reach another file system, and the database may lie on its own."""
    return path.parent / "quarantine"


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.name}-{number}")
