"""`holdfastd migrate`: applies the pending migrations to a store that no daemon serves; with `--dry-run` lists them."""

from __future__ import annotations

from contextlib import closing

from holdfastd.filesystem import refuse_non_local
from holdfastd.foreign import find_files, naming_damage
from holdfastd.locks import DataDirLock, LockHeld, clean_mark
from holdfastd.settings import Settings
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import Migration, find_migrations, migrate, pending


def list_pending(settings: Settings) -> tuple[Migration, ...]:
    """The pending migrations. Changes nothing; works while a daemon serves the store. Raises what `migrate_store` would."""
    migrations = find_migrations()
    if not settings.database_path.exists():
        return migrations
    _refuse_as_a_start_would(settings)
    with naming_damage(settings.database_path), closing(Database(settings.database_path).open_reader()) as connection:
        return pending(connection, migrations)


def _refuse_as_a_start_would(settings: Settings) -> None:
    """Raises what is wrong with the files. Returns when nothing is, while a daemon serves them, and when none ever did."""
    if not (settings.data_dir / "daemon.json").exists():
        return
    lock = DataDirLock(settings.data_dir)
    try:
        lock.acquire()
    except LockHeld:
        return
    try:
        find_files(settings, lock.last_store_id).refuse_foreign()
    finally:
        lock.release()


def migrate_store(settings: Settings) -> tuple[Migration, ...]:
    """Applies the pending migrations under the data directory's lock. Raises LockHeld while a daemon serves the store."""
    refuse_non_local(settings)
    lock = DataDirLock(settings.data_dir)
    was_clean = lock.acquire()
    try:
        is_new = not settings.database_path.exists()
        was_clean = was_clean and lock.was_left(settings.database_path)
        find_files(settings, lock.last_store_id).refuse_foreign()
        with naming_damage(settings.database_path), closing(Database(settings.database_path).open_writer()) as connection:
            steps = migrate(connection, settings.snapshots_dir)
        if is_new or was_clean:  # the next daemon has nothing to recover
            lock.write({**lock.last, **clean_mark(settings.database_path)})
        return steps
    finally:
        lock.release()
