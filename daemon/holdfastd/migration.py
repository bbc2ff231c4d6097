"""`holdfastd migrate`: applies the pending migrations to a store that no daemon serves; with `--dry-run` lists them."""

from __future__ import annotations

from contextlib import closing

from holdfastd.filesystem import refuse_non_local
from holdfastd.foreign import find_store_files, naming_damage, refuse_unusable
from holdfastd.locks import MARKED_CLEAN, DataDirLock
from holdfastd.settings import Settings
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.inspection import inspect
from holdfastd.store.sqlite.migrate import Migration, find_migrations, migrate, pending


def list_pending(settings: Settings) -> tuple[Migration, ...]:
    """The pending migrations. Changes nothing and creates nothing; works while a daemon serves the store."""
    migrations = find_migrations()
    if not settings.database_path.exists():
        return migrations
    with naming_damage(settings.database_path), closing(Database(settings.database_path).open_reader()) as connection:
        return pending(connection, migrations)


def migrate_store(settings: Settings) -> tuple[Migration, ...]:
    """Applies the pending migrations under the data directory's lock. Raises LockHeld while a daemon serves the store."""
    refuse_non_local(settings)
    lock = DataDirLock(settings.data_dir)
    lock.acquire()
    try:
        refuse_unusable(settings.database_path)
        is_new = not settings.database_path.exists()
        found = inspect(settings.database_path)
        id = found.store_id if found.readable else None
        find_store_files(settings, id, found.foreign_log, lock.last_store_id).refuse_foreign()
        with naming_damage(settings.database_path), closing(Database(settings.database_path).open_writer()) as connection:
            steps = migrate(connection, settings.snapshots_dir)
        if is_new:
            lock.write(MARKED_CLEAN)  # the first daemon has nothing to recover
        return steps
    finally:
        lock.release()
