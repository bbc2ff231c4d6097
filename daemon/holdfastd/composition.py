"""The composition root: opens a store, makes each part of the daemon once, and connects the parts. Add parts and jobs here.

`Daemon` calls it, and adds locks, socket, `daemon.json` and the order of stopping. The tests' engine makes the same parts
without a socket.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from holdfastd import durable, filesystem, logs
from holdfastd.blobs.files import BlobFiles
from holdfastd.jobs.compaction import CompactionJob
from holdfastd.jobs.housekeeping import HousekeepingJob
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.jobs.sweep import RecoveryJob, SweepJob
from holdfastd.model.jobs import Job
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.handlers import UseCase
from holdfastd.rpc.server import Health, Servers
from holdfastd.service.admin import Admin, Identity
from holdfastd.service.blobs.calls import BlobCalls, Blobs
from holdfastd.service.blobs.draft import BlobSettings
from holdfastd.service.blobs.sweep import BlobSweep
from holdfastd.service.commits import Commits
from holdfastd.service.feed import Feed
from holdfastd.service.journals import Journals
from holdfastd.service.pending import NeverWaits
from holdfastd.service.reading import Reading
from holdfastd.service.records import Records
from holdfastd.service.watches import Watches
from holdfastd.settings import Settings
from holdfastd.store.commands import Handlers, handlers
from holdfastd.store.engine import Connection, Engine, Readers
from holdfastd.store.ledger import Ledger
from holdfastd.store.schema import check_schema
from holdfastd.store.sqlite import migrate
from holdfastd.store.sqlite.database import Database
from holdfastd.writer.batch import Batcher
from holdfastd.writer.writer import Writer

CALLS_THAT_MAY_WAIT = 1_000

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenStore:
    """One store, opened: its engine, its connections, its id."""

    engine: Engine
    connection: Connection  # the writer's; rows are changed through no other connection
    readers: Readers
    store_id: str
    schema_version: int


def open_store(settings: Settings, exits: ExitStack, on_sync_failure: Callable[[BaseException], None]) -> OpenStore:
    """Opens the database, creates it when it is missing, and migrates it. `exits` closes readers, last checkpoint and writer.

    Raises SETUP when the file is not a Holdfast database, or when its schema lacks what the registry of kinds needs; `exits`
    then closes what was opened.
    """
    database = Database(settings.database_path)
    connection = database.open_writer()
    exits.callback(connection.close)
    for step in migrate.migrate(connection, settings.snapshots_dir):
        log.info("migrated", extra={"migration": step})
    durable.sync_directory(settings.database_path.parent)  # SQLite syncs it too, but on macOS not as `durable` does
    check_schema(migrate.columns_by_table(connection))
    exits.callback(database.close, on_sync_failure)
    readers = database.open_readers(settings.readers)
    exits.callback(readers.close)
    return OpenStore(database, connection, readers, migrate.store_id(connection), migrate.schema_version(connection))


class Parts:
    """All parts of a daemon over one open store. The constructor starts the writer's thread; no call is served yet.

    on_sync_failure: must end the process. was_clean: whether the last daemon stopped in order; if not, the job `recover` runs
    at start. extra_handlers: functions for command types that are not in `store/commands.py`; tests pass them.
    """

    def __init__(
        self,
        settings: Settings,
        store: OpenStore,
        on_sync_failure: Callable[[BaseException], None],
        *,
        start_time_ns: int,
        was_clean: bool = True,
        feed: Feed | None = None,
        extra_handlers: Handlers | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._on_sync_failure = on_sync_failure
        self.feed = feed or Feed()
        store.engine.follow(self.feed.wake_all)
        self.batcher = self._make_batcher(extra_handlers or {})
        self.writer = Writer(self.batcher, self.feed.publish, queue_max=settings.writer_queue_max, batch_max=settings.batch_max)
        self.reading = Reading(store.readers)
        self.blobs, self.blob_sweep = self._make_blobs()
        self.commits = Commits(self.writer)
        self.records = Records(self.reading)
        self.journals = Journals(self.reading, self.feed)
        self.watches = Watches(self.reading, self.feed)
        self.scheduler = Scheduler(self._make_jobs(was_clean))
        self.admin = self._make_admin(start_time_ns)
        self.gate = Gate(settings.unary_threads, settings.stream_threads, CALLS_THAT_MAY_WAIT)
        self.health = Health()

    def _make_batcher(self, extra_handlers: Handlers) -> Batcher:
        self.ledger = Ledger(self._store.connection)
        has_room = functools.partial(filesystem.has_room, self._settings.database_path.parent)
        every = {**handlers(self.ledger), **extra_handlers}
        return Batcher(self._store.connection, self.ledger, every, time.time_ns, self._on_sync_failure, has_room)

    def _make_blobs(self) -> tuple[Blobs, BlobSweep]:
        settings, readers = self._settings, self._store.readers
        files = BlobFiles(settings.data_dir, on_sync_failure=self._on_sync_failure)
        limits = BlobSettings(inline_max_bytes=settings.inline_max_bytes, delta=settings.delta, lease_s=settings.lease_s)
        return Blobs(self.writer, readers, files, limits), BlobSweep(self.writer, readers, files, time.time_ns)

    def _make_jobs(self, was_clean: bool) -> tuple[Job, ...]:
        settings, store, writer = self._settings, self._store, self.writer
        self.blob_sweep.recovery_is_due = not was_clean
        housekeeping = HousekeepingJob(
            writer, self.reading, store.readers, settings.request_retention_s, settings.request_retention_commits
        )
        return (
            Job("sweep", SweepJob(self.blob_sweep).run, settings.sweep_interval_s),
            Job("recover", RecoveryJob(self.blob_sweep).run, at_start=not was_clean),
            Job("compact", CompactionJob(writer, self.reading).run),
            Job("housekeeping", housekeeping.run, settings.housekeeping_interval_s),
            *store.engine.jobs(settings.checkpoint_interval_s, writer.run_exclusively, self._on_sync_failure),
        )

    def _make_admin(self, start_time_ns: int) -> Admin:
        settings = self._settings
        identity = Identity(
            store_id=self._store.store_id,
            schema_version=self._store.schema_version,
            data_dir="" if settings.in_memory else str(settings.data_dir),
            socket_path=str(settings.socket),
            persistence=settings.persistence,
            start_time_ns=start_time_ns,
        )
        return Admin(
            identity,
            self.reading,
            self._store.readers,
            self.blobs,
            self.scheduler,
            queued=lambda: self.writer.queued,
            database_bytes=self._store.engine.size_bytes,
            warnings=lambda: filesystem.low_disk_warnings(settings) + self.gate.warnings(),
        )

    def use_cases(self) -> dict[str, dict[str, UseCase]]:
        """The function that answers each method of the contract, by service and method."""
        records, commit_calls, blobs, admin = self.records, self.commits, BlobCalls(self.blobs), self.admin
        return {
            "StoreService": {
                "Get": records.get,
                "BatchGet": records.batch_get,
                "List": records.list,
                "Scan": records.scan,
                "Count": records.count,
                "Commit": NeverWaits(commit_calls.commit),
                "Watch": self.watches.watch,
                "AllocateId": NeverWaits(commit_calls.allocate_id),
            },
            "JournalService": {"Append": NeverWaits(commit_calls.append), "Read": self.journals.read, "List": self.journals.list},
            "BlobService": {"Put": blobs.put, "Get": blobs.get, "Stat": blobs.stat},
            "AdminService": {"GetStatus": admin.get_status, "RunJob": admin.run_job, "Verify": admin.verify},
        }

    def servers(self) -> Servers:
        """Makes gRPC servers over these parts, one for each bind of the listener."""
        return Servers(self.use_cases(), self.gate, self.health, self._settings.default_timeout_s)
