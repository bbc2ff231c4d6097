"""Joins writer, blobs, use cases, jobs and RPC over an opened store. The one place to add a part."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

from holdfastd.blobs.files import BlobFiles
from holdfastd.jobs import sweep
from holdfastd.jobs.compaction import CompactionJob
from holdfastd.jobs.housekeeping import HousekeepingJob
from holdfastd.jobs.scheduler import Job, JobRun, Scheduler
from holdfastd.model.call import Call
from holdfastd.model.commands import AllocateIds, Commit, CompactWatches, ExpireRequests, FreePages
from holdfastd.parts import Core, Services
from holdfastd.rpc.gate import Gate
from holdfastd.rpc.listener import BuildServer
from holdfastd.rpc.server import Health, build_server
from holdfastd.service.admin import Admin, Identity
from holdfastd.service.blobs.blobs import Blobs
from holdfastd.service.blobs.calls import BlobCalls
from holdfastd.service.blobs.ports import BlobSettings
from holdfastd.service.commits import Commits
from holdfastd.service.feed import Feed
from holdfastd.service.journals import Journals
from holdfastd.service.reading import Reading
from holdfastd.service.records import Records
from holdfastd.service.watches import Watches
from holdfastd.settings import Settings
from holdfastd.store import blobs as blob_rows
from holdfastd.store import commits, requests
from holdfastd.store.engine import Connection
from holdfastd.store.ledger import Ledger
from holdfastd.store.sqlite import migrate, space
from holdfastd.writer.batch import Batcher, Handler
from holdfastd.writer.writer import Writer

CALLS_THAT_MAY_WAIT = 1_000
LOW_DISK_BYTES = 256 * 2**20
RESERVED_DISK_BYTES = 2 * 2**20  # the last writes are those that give space back


def handlers(ledger: Ledger) -> dict[type, Handler]:
    """What the writer does for each command."""
    return {
        Commit: functools.partial(commits.commit, ledger),
        AllocateIds: functools.partial(commits.allocate_ids, ledger),
        CompactWatches: functools.partial(commits.compact_watches, ledger),
        ExpireRequests: requests.expire,
        FreePages: space.free_pages,
        **blob_rows.APPLY,
    }


def open_writer(
    connection: Connection, settings: Settings, feed: Feed, on_sync_failure: Callable[[BaseException], None]
) -> Writer:
    """The writer over its connection."""
    ledger = Ledger(connection)
    has_room = functools.partial(_has_room, settings)
    batcher = Batcher(connection, ledger, handlers(ledger), time.time_ns, on_sync_failure, has_room)
    return Writer(batcher, feed.publish, queue_max=settings.writer_queue_max, batch_max=settings.batch_max)


def open_services(core: Core) -> Services:
    """Everything between the connections and the socket."""
    settings = core.settings
    feed = Feed()
    writer = open_writer(core.writer_connection, settings, feed, core.on_sync_failure)
    reading = Reading(core.readers)
    blobs = _open_blobs(core, writer)
    gate = Gate(settings.unary_threads, settings.stream_threads, CALLS_THAT_MAY_WAIT)
    health = Health()

    def serve(scheduler: Scheduler) -> BuildServer:
        use_cases = _use_cases(core, writer, reading, feed, blobs, scheduler)
        return lambda: build_server(use_cases, gate, health, settings.default_timeout_s)

    def say_not_serving() -> None:
        health.say_not_serving()
        gate.stop()

    return Services(
        build_server=serve,
        jobs=_jobs(core, writer, reading, blobs),
        activity=gate,
        say_not_serving=say_not_serving,
        wake_streams=feed.close,
        alone=writer.alone,
        drain_writer=writer.stop,
        close=gate.close,
        is_clean=lambda: not blobs.has_doubtful_files,
    )


def _open_blobs(core: Core, writer: Writer) -> Blobs:
    settings = core.settings
    files = BlobFiles(settings.data_dir, on_sync_failure=core.on_sync_failure)
    limits = BlobSettings(inline_max_bytes=settings.inline_max_bytes, delta=settings.delta, lease_s=settings.lease_s)
    return Blobs(writer, core.readers, files, limits, time.time_ns)


def _use_cases(
    core: Core, writer: Writer, reading: Reading, feed: Feed, blobs: Blobs, scheduler: Scheduler
) -> dict[str, dict[str, Callable[..., Any]]]:
    records, commit_calls = Records(reading), Commits(writer)
    journals, watches, blob_calls = Journals(reading, feed), Watches(reading, feed), BlobCalls(blobs)
    admin = Admin(
        _identity(core),
        reading,
        core.readers,
        blobs,
        scheduler,
        queued=lambda: writer.queued,
        database_bytes=functools.partial(_database_bytes, core.settings),
        warnings=functools.partial(_warnings, core.settings),
    )
    return {
        "StoreService": {
            "Get": records.get,
            "BatchGet": records.batch_get,
            "List": records.list,
            "Scan": records.scan,
            "Count": records.count,
            "Commit": commit_calls.commit,
            "Watch": watches.watch,
            "AllocateId": commit_calls.allocate_id,
        },
        "JournalService": {"Append": commit_calls.append, "Read": journals.read, "List": journals.list},
        "BlobService": {"Put": blob_calls.put, "Get": blob_calls.get, "Stat": blob_calls.stat},
        "AdminService": {"GetStatus": admin.get_status, "RunJob": admin.run_job, "Verify": admin.verify},
    }


def _jobs(core: Core, writer: Writer, reading: Reading, blobs: Blobs) -> tuple[Job, ...]:
    settings = core.settings

    def run_sweep(run: JobRun) -> dict[str, int]:
        return sweep.run(blobs, run.dry_run, run.progress, run.call)

    def recover(run: JobRun) -> dict[str, int]:
        return sweep.recover(blobs, run.dry_run, run.call)

    def revision() -> int:
        return reading.revision(Call())

    def empty_pages() -> int:
        with core.readers.snapshot(Call()) as connection:
            return space.empty_pages(connection)

    housekeeping = HousekeepingJob(
        writer.submit, revision, empty_pages, settings.request_retention_s, settings.request_retention_commits
    )
    return (
        Job("sweep", run_sweep, settings.sweep_interval_s),
        Job("recover", recover, at_start=not core.was_clean),
        Job("compact", CompactionJob(writer.submit, revision).run),
        housekeeping.job(settings.housekeeping_interval_s),
    )


def _identity(core: Core) -> Identity:
    settings = core.settings
    return Identity(
        store_id=core.store_id,
        schema_version=migrate.schema_version(core.writer_connection),
        data_dir="" if settings.in_memory else str(settings.data_dir),
        socket_path=str(settings.socket),
        persistence=settings.persistence,
        start_time_ns=core.start_time_ns,
    )


def _has_room(settings: Settings) -> bool:
    return _free_bytes(settings) >= RESERVED_DISK_BYTES


def _free_bytes(settings: Settings) -> int:
    found = os.statvfs(settings.database_path.parent)
    return found.f_bavail * found.f_frsize


def _database_bytes(settings: Settings) -> int:
    path = settings.database_path
    return sum(each.stat().st_size for each in (path, path.with_name(path.name + "-wal")) if each.exists())


def _warnings(settings: Settings) -> list[str]:
    free = _free_bytes(settings)
    if free < LOW_DISK_BYTES:
        return [f"The disk of {settings.data_dir} has {free // 2**20} MiB left; a full one refuses writes."]
    return []
