"""The daemon: the only place that knows every part. Opens them in order and closes them in reverse.

`Daemon` can be opened and closed in any process (the tests do); `run` puts it under trio in the main thread, which handles
signals, keeps the jobs' timers, watches the socket and ends the process when stopping takes too long.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from holdfastd import MAX_API_VERSION, MIN_API_VERSION, __version__, failpoints, logs
from holdfastd.composition import open_services
from holdfastd.errors import DataLoss, DiskFull
from holdfastd.filesystem import refuse_non_local
from holdfastd.jobs.checkpointer import CheckpointJob
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.locks import DataDirLock, SocketLock
from holdfastd.parts import Core, OpenServices
from holdfastd.rpc.listener import Listener
from holdfastd.settings import Settings
from holdfastd.store.sqlite.checkpoint import Checkpointer
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import migrate, store_id

EXIT_SYNC_FAILED = 70
EXIT_STUCK = 75
# Readers run under the GIL beside the writer; a shorter turn gives it the GIL sooner. It took appends from 0.41 to 0.51 of a
# no-op call while each held a thread; now that none does, 5 ms give 0.94 and this 0.96.
SWITCH_INTERVAL_S = 0.0002

log = logs.logger(__name__)


class Daemon:
    """One store, opened and served.

    `open` returns when callers are served; `close` follows the order of stopping and may be called from any thread, once.
    """

    def __init__(
        self, settings: Settings, open_services: OpenServices = open_services, end_process: Callable[[int], None] = os._exit
    ):
        self._given = settings
        self._open_services = open_services
        self._end_process = end_process
        self._parts = ExitStack()

    def open(self) -> None:
        """Opens every part in order; when one fails, closes those before it and raises what it raised."""
        began = time.monotonic()
        with ExitStack() as parts:
            self._start_time_ns = time.time_ns()
            self.settings = self._with_memory(parts)
            was_clean = self._lock(parts)
            core = self._open_store(parts, was_clean)
            self._open_parts(parts, core)
            self._serve(parts)
            self._parts = parts.pop_all()
        log.info(
            "serving",
            extra={"socket": self.settings.socket, "data_dir": self.settings.data_dir, "after_s": time.monotonic() - began},
        )

    def close(self) -> None:
        """Stops in the order of the design: calls, streams, jobs, writer, checkpoint, connections, socket, locks."""
        self._parts.close()

    def _with_memory(self, parts: ExitStack) -> Settings:
        """A store in memory is one in a directory that goes with the daemon."""
        if not self._given.in_memory:
            return self._given
        directory = tempfile.mkdtemp(prefix="holdfast-")
        parts.callback(shutil.rmtree, directory, ignore_errors=True)
        return dataclasses.replace(self._given, data_dir=Path(directory), persist_db_path=None)

    def _lock(self, parts: ExitStack) -> bool:
        """Takes both locks, the data directory's first; whether the last daemon stopped cleanly."""
        settings = self.settings
        refuse_non_local(settings)
        self._data_dir_lock = DataDirLock(settings.data_dir)
        was_clean = self._data_dir_lock.acquire()
        parts.callback(self._data_dir_lock.release)
        self._socket_lock = SocketLock(settings.socket, {"pid": os.getpid(), "data_dir": str(settings.data_dir)})
        self._socket_lock.acquire()
        parts.callback(self._socket_lock.release)
        return was_clean

    def _open_store(self, parts: ExitStack, was_clean: bool) -> Core:
        settings = self.settings
        database = Database(settings.database_path)
        connection = database.open_writer()
        parts.push(self._mark_clean)
        parts.callback(connection.close)
        for step in migrate(connection, settings.snapshots_dir):
            log.info("migrated", extra={"migration": step})
        self._store_id = store_id(connection)
        self._checkpointer = Checkpointer(database)
        parts.callback(self._checkpointer.close)
        parts.callback(self._empty_log)
        readers = database.open_readers(settings.readers)
        parts.callback(readers.close)
        return Core(settings, connection, readers, self._store_id, self._start_time_ns, was_clean, self.on_sync_failure)

    def _open_parts(self, parts: ExitStack, core: Core) -> None:
        settings = self.settings
        self._services = self._open_services(core)
        parts.callback(self._services.close)
        parts.callback(self._drain_writer)
        checkpoint = CheckpointJob(settings.database_path, self._checkpointer, self._services.alone, self.on_sync_failure)
        self.scheduler = Scheduler((*self._services.jobs, checkpoint.job(settings.checkpoint_interval_s)))
        parts.callback(self.scheduler.stop, settings.grace_s)
        if not core.was_clean:
            log.warning("last_stop_was_unclean", extra={"data_dir": settings.data_dir})

    def _serve(self, parts: ExitStack) -> None:
        self._listener = Listener(self.settings.socket, self._services.build_server(self.scheduler))
        self._listener.bind()
        # The socket goes when the calls are done; its lock stays until everything else is closed.
        parts.callback(self._listener.unlink)
        parts.callback(self._stop_serving)
        self._data_dir_lock.write(self._card() | {"pid": os.getpid(), "socket": str(self.settings.socket)})

    def _card(self) -> dict[str, Any]:
        """What `daemon.json` says of the store and its last daemon."""
        return {
            "store_id": self._store_id,
            "version": __version__,
            "min_api_version": MIN_API_VERSION,
            "max_api_version": MAX_API_VERSION,
            "start_time": self._start_time_ns,
        }

    def _stop_serving(self) -> None:
        grace_s = self.settings.grace_s
        log.info("stopping", extra={"active_calls": self._services.activity.active_calls(), "grace_s": grace_s})
        self._services.say_not_serving()
        failpoints.hit("stop.refusing_calls")
        if not self._listener.stop(grace_s, self._services.wake_streams, self._services.activity.active_calls):
            log.warning("calls_cut_off")

    def _drain_writer(self) -> None:
        """A writer that hangs holds the connection, so nothing behind it can be closed: the kernel has to."""
        if not self._services.drain_writer(self.settings.grace_s):
            log.critical("writer_not_drained", extra={"grace_s": self.settings.grace_s, **_where_threads_are()})
            self._end_process(EXIT_STUCK)
        failpoints.hit("stop.writer_drained")

    def _empty_log(self) -> None:
        """The last checkpoint; after it the database file alone is the whole store."""
        try:
            done = self._checkpointer.truncate()
        except DiskFull:  # the log keeps what the database has no room for; the next daemon goes on with it
            log.warning("log_not_emptied", extra={"reason": DiskFull.reason})
            return
        except DataLoss as error:
            self.on_sync_failure(error)
            raise
        if not done.complete:
            log.warning("log_not_emptied", extra={"pages_in_log": done.pages_in_log, "pages_copied": done.pages_copied})

    def _mark_clean(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Tells the next daemon that it need not look for what a crash leaves behind; not when closing itself failed."""
        if error is None and self._services.is_clean():
            self._data_dir_lock.write(self._card() | {"clean": True})
            failpoints.hit("stop.marked_clean")

    def on_sync_failure(self, error: BaseException) -> None:
        """After a failed fsync nobody knows what is on disk: what the page cache says can no longer be trusted."""
        log.critical("sync_failed", extra={"error": type(error).__name__, "errno": getattr(error, "errno", None)})
        self._end_process(EXIT_SYNC_FAILED)

    def keep_reachable(self) -> None:
        """Binds the socket again when somebody took it away, and puts `daemon.json` back. Call it each second or so."""
        self._data_dir_lock.ensure()
        if self._listener.is_bound():
            return
        self._socket_lock.ensure()
        self._listener.bind()
        log.warning("socket_bound_again", extra={"socket": self.settings.socket})

    def idle_s(self) -> float:
        """For how long nobody has called."""
        activity = self._services.activity
        return 0.0 if activity.active_calls() else time.monotonic() - activity.last_activity()


def watchdog(timeout_s: float, end_process: Callable[[int], None] = os._exit) -> threading.Timer:
    """Ends the process after `timeout_s` unless it has ended by itself; the log tells where each thread was."""

    def end() -> None:
        log.critical("stuck", extra={"after_s": timeout_s, **_where_threads_are()})
        end_process(EXIT_STUCK)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    return timer


def _where_threads_are() -> Mapping[str, str]:
    names = {each.ident: each.name for each in threading.enumerate()}
    return {
        f"thread_{number}": f"{names.get(ident)}: {frame.f_code.co_name} {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        for number, (ident, frame) in enumerate(sys._current_frames().items())
    }
