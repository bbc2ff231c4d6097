"""The composition root: opens a store, makes each part of the daemon once, and connects the parts. Add parts and jobs here.

`Daemon` calls it, and adds locks, socket, `daemon.json` and the order of stopping. The tests' engine makes the same parts
without a socket.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from holdfastd import descriptors, durable, filesystem, logs
from holdfastd.blobs.files import BlobFiles
from holdfastd.blobs.presence import MissingFiles
from holdfastd.blobs.room import Room
from holdfastd.errors import DataLoss
from holdfastd.ground import Ground
from holdfastd.jobs.checksums import ChecksumsJob
from holdfastd.jobs.compaction import CompactionJob
from holdfastd.jobs.housekeeping import HousekeepingJob
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.jobs.sweep import RecoveryJob, SweepJob
from holdfastd.jobs.trimming import INTERVAL_S, TrimJob
from holdfastd.memory import Memory, default_memory_bytes, trim_allocator
from holdfastd.model.call import Call
from holdfastd.model.jobs import Job
from holdfastd.rpc.door import Door, DoorLimits
from holdfastd.rpc.gate import ANSWERS_AT_ONCE, Gate
from holdfastd.rpc.handlers import MAX_TRANSPORT_BYTES, UseCase
from holdfastd.rpc.health import Health
from holdfastd.rpc.message_first import MessageFirst
from holdfastd.rpc.peers import Peers
from holdfastd.rpc.receipts import Receipts
from holdfastd.rpc.server import SERVICES, Servers
from holdfastd.service.admin import Admin, Identity
from holdfastd.service.answers import MAX_ANSWER_BYTES
from holdfastd.service.blobs.calls import BlobCalls, Blobs
from holdfastd.service.blobs.draft import BlobSettings
from holdfastd.service.blobs.sweep import BlobSweep
from holdfastd.service.commits import Commits
from holdfastd.service.feed import Feed
from holdfastd.service.journals import Journals
from holdfastd.service.journals import is_long_list as is_long_journal_list
from holdfastd.service.loads import Loads
from holdfastd.service.pending import NeverWaits
from holdfastd.service.reading import MayBeLong, Reading
from holdfastd.service.records import Records, is_long_list
from holdfastd.service.unread import Unread
from holdfastd.service.watches import Watches
from holdfastd.settings import Settings
from holdfastd.store import blobs as blob_rows
from holdfastd.store import checksum_fill
from holdfastd.store.commands import Handlers, handlers
from holdfastd.store.engine import Connection, Engine, Readers
from holdfastd.store.ledger import Ledger
from holdfastd.store.schema import check_schema
from holdfastd.store.sqlite import migrate
from holdfastd.store.sqlite.database import Database
from holdfastd.writer.batch import Batcher
from holdfastd.writer.writer import Writer

CALLS_THAT_MAY_WAIT = 1_000
FILES_LOOKED_FOR = 100

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenStore:
    """One store, opened: its engine, its connections, its id."""

    engine: Engine
    connection: Connection  # the writer's; rows are changed through no other connection
    readers: Readers
    store_id: str
    schema_version: int
    has_checksums: bool = True


def hold_ground(settings: Settings, engine: Engine, on_replaced: Callable[[str], None]) -> Ground:
    """Begins to compare the store's files with their paths. `on_replaced` must end the process. Call it when all are open."""
    paths = (settings.data_dir, settings.blobs_dir, *engine.held_files())
    ground = Ground(paths, engine.foreign_write, on_replaced)
    engine.guard(ground.check)
    return ground


def _has_room_to_start(settings: Settings) -> bool:
    has_room = filesystem.DiskRoom(settings.database_path.parent, lambda: 0).has_room()
    if not has_room:
        log.warning(
            "disk_full", extra={"text": "opened for reading; writes begin when there is room", "data_dir": settings.data_dir}
        )
    return has_room


def open_store(settings: Settings, exits: ExitStack, on_sync_failure: Callable[[BaseException], None]) -> OpenStore:
    """Opens the database, creates it when it is missing, and migrates it. `exits` closes readers, last checkpoint and writer.

    Raises SETUP when the schema lacks what the registry of kinds needs. When `exits` unwinds because of an error, it closes what
    was opened without a checkpoint.
    """
    database = Database(settings.database_path, has_room=_has_room_to_start(settings))
    last = exits.enter_context(ExitStack())
    connection = database.open_writer()
    exits.callback(connection.close)
    exits.push(functools.partial(_keep_log_after, database, last))
    for step in migrate.migrate(connection, settings.snapshots_dir):
        log.info("migrated", extra={"migration": step})
    durable.sync_directory(settings.database_path.parent)  # SQLite syncs it too, but on macOS not as `durable` does
    check_schema(migrate.columns_by_table(connection))
    exits.push(functools.partial(_close_engine, database, on_sync_failure))
    readers = database.open_readers(settings.readers)
    exits.callback(readers.close)
    version, complete = migrate.schema_version(connection), checksum_fill.is_complete(connection)
    return OpenStore(database, connection, readers, migrate.store_id(connection), version, complete)


def _keep_log_after(database: Database, last: ExitStack, kind: type[BaseException] | None, *_: object) -> None:
    """After a failure, opens a connection that `last` closes: the last connection to close copies the log into the file and
    deletes it, unless it cannot write. A start that fails leaves both as they are."""
    if kind is not None:
        with contextlib.suppress(Exception):
            last.callback(database.open_watcher().close)


def _close_engine(
    engine: Engine, on_sync_failure: Callable[[BaseException], None], kind: type[BaseException] | None, *_: object
) -> None:
    engine.close(on_sync_failure, keeps_log=kind is not None)


def _look_for_files(data_dir: Path, readers: Readers) -> MissingFiles:
    try:
        with readers.snapshot(Call()) as connection:
            found = MissingFiles(data_dir, blob_rows.some_paths(connection, FILES_LOOKED_FOR))
    except DataLoss as error:  # damage of these rows need not prevent the start; verify names it
        log.warning("blob_rows_unreadable", extra={"text": error.message})
        return MissingFiles(data_dir, ())
    for text in found.warnings():
        log.warning("blob_files_missing", extra={"text": text})
    return found


class Parts:
    """All parts of a daemon over one open store. The constructor starts the writer's thread; no call is served yet.

    on_sync_failure: must end the process. was_clean: whether the last daemon stopped in order; if not, the job `recover` runs
    at start. on_replaced: called with the reason when the store's files are no longer those at their paths; must end the process.
    extra_handlers: functions for command types that are not in `store/commands.py`; tests pass them.
    """

    def __init__(
        self,
        settings: Settings,
        store: OpenStore,
        on_sync_failure: Callable[[BaseException], None],
        *,
        start_time_ns: int,
        was_clean: bool = True,
        on_replaced: Callable[[str], None] = lambda reason: None,
        feed: Feed | None = None,
        extra_handlers: Handlers | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._on_sync_failure = on_sync_failure
        self._memory = Memory.divided(
            settings.memory_max_bytes or default_memory_bytes(), MAX_TRANSPORT_BYTES, ANSWERS_AT_ONCE * 3 * MAX_ANSWER_BYTES
        )
        self.feed = feed or Feed()
        store.engine.follow(self.feed.wake_all)
        self._files = BlobFiles(settings.data_dir, on_sync_failure=on_sync_failure)
        self._room = filesystem.DiskRoom(settings.database_path.parent, store.engine.growth_bytes)
        self._missing_files = _look_for_files(settings.data_dir, store.readers)
        self.ground = hold_ground(settings, store.engine, on_replaced)
        self._files.guard(self.ground.check)
        self.batcher = self._make_batcher(extra_handlers or {})
        self.writer = Writer(self.batcher, self.feed.publish, queue_max=settings.writer_queue_max, batch_max=settings.batch_max)
        self.reading = Reading(store.readers)
        self.blobs, self.blob_sweep = self._make_blobs()
        self.commits = Commits(self.writer)
        self.loads = Loads(self.writer)
        self._unread = Unread()
        self.records = Records(self.reading, self._unread)
        self.journals = Journals(self.reading, self.feed, self._unread)
        self.watches = Watches(self.reading, self.feed, self._unread)
        self.scheduler = Scheduler(self._make_jobs(was_clean))
        self.admin = self._make_admin(start_time_ns)
        self.gate = self._make_gate()
        self.health = Health(each.full_name for each in SERVICES.values())

    def _make_gate(self) -> Gate:
        settings, memory = self._settings, self._memory
        receipts = Receipts(memory.budget, memory.permits, MAX_TRANSPORT_BYTES)
        return Gate(
            settings.unary_threads,
            settings.stream_threads,
            CALLS_THAT_MAY_WAIT,
            Peers(),
            MessageFirst(receipts=receipts),
            memory.budget,
        )

    def _make_batcher(self, extra_handlers: Handlers) -> Batcher:
        self.ledger = Ledger(self._store.connection)
        every = {**handlers(self.ledger), **extra_handlers}
        return Batcher(
            self._store.connection,
            self.ledger,
            every,
            time.time_ns,
            self._on_sync_failure,
            self._room,
            self.ground.check,
        )

    def _make_blobs(self) -> tuple[Blobs, BlobSweep]:
        settings, readers, files = self._settings, self._store.readers, self._files
        limits = BlobSettings(
            inline=settings.inline_max_bytes,
            delta=settings.delta,
            lease_s=settings.lease_s,
            cache_bytes=self._memory.cache_bytes,
        )
        sweep = BlobSweep(self.writer, readers, files, time.time_ns)
        room = Room(functools.partial(self._room.spare_bytes, settings.data_dir))
        blobs = Blobs(self.writer, readers, files, limits, is_recovering=sweep.is_deleting_orphans, room=room)
        return blobs, sweep

    def _make_jobs(self, was_clean: bool) -> tuple[Job, ...]:
        settings, store, writer = self._settings, self._store, self.writer
        self.blob_sweep.recovery_is_due = not was_clean
        housekeeping = HousekeepingJob(
            writer, self.reading, store.readers, settings.request_retention_s, settings.request_retention_commits
        )
        trimming = TrimJob(self._memory.budget, trim_allocator)
        return (
            Job("trim", trimming.run, INTERVAL_S, trimming.is_due, log_level=logging.DEBUG),
            Job("sweep", SweepJob(self.blob_sweep).run, settings.sweep_interval_s),
            Job("recover", RecoveryJob(self.blob_sweep).run, at_start=not was_clean),
            Job("checksums", ChecksumsJob(writer, self.blobs, store.readers).run, at_start=not self._store.has_checksums),
            Job("compact", CompactionJob(writer, self.reading).run),
            Job("housekeeping", housekeeping.run, settings.housekeeping_interval_s),
            *store.engine.jobs(
                settings.checkpoint_interval_s, writer.run_exclusively, self._room.has_room_for_log, self._on_sync_failure
            ),
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
            memory=self._memory,
            warnings=self._warnings,
            unread=self._unread,
        )

    def _warnings(self) -> list[str]:
        clock = self.ledger.clock_warnings(time.time_ns())
        disk = filesystem.low_disk_warnings(self._settings, self._room)
        return disk + self._missing_files.warnings() + self._unread.warnings() + clock + self.gate.warnings()

    def use_cases(self) -> dict[str, dict[str, UseCase]]:
        """The function that answers each method of the contract, by service and method."""
        records, commit_calls, blobs, admin = self.records, self.commits, BlobCalls(self.blobs), self.admin
        return {
            "StoreService": {
                "Get": records.get,
                "BatchGet": records.batch_get,
                "List": MayBeLong(records.list, is_long_list),
                "Scan": records.scan,
                "Count": MayBeLong(records.count, lambda _: True),
                "Commit": NeverWaits(commit_calls.commit),
                "Watch": self.watches.watch,
                "AllocateId": NeverWaits(commit_calls.allocate_id),
            },
            "JournalService": {
                "Append": NeverWaits(commit_calls.append),
                "Read": self.journals.read,
                "List": MayBeLong(self.journals.list, is_long_journal_list),
            },
            "BlobService": {"Put": blobs.put, "Get": blobs.get, "Stat": blobs.stat},
            "AdminService": {
                "GetStatus": admin.get_status,
                "RunJob": admin.run_job,
                "Verify": admin.verify,
                "ListWorkspaces": admin.list_workspaces,
                "Load": NeverWaits(self.loads.load),
            },
        }

    def door(self) -> Door:
        """The front door, not yet started; the gate knows the peers of its connections."""
        settings = self._settings
        most = descriptors.for_connections(settings.readers, settings.stream_threads)
        limits = DoorLimits(settings.connections_max, settings.user_connections_max, settings.preface_timeout_s, most)
        return Door(self.gate.peers, limits)

    def servers(self) -> Servers:
        """Makes gRPC servers over these parts."""
        return Servers(self.use_cases(), self.gate, self.health, self._settings.default_timeout_s)
