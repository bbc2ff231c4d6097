"""The life of a daemon: takes the locks, opens the store and its parts in order, serves, and closes in reverse.

`composition.py` makes the parts; this module decides when they open and close. `supervisor.py` runs a `Daemon` in the main
thread and calls `keep_reachable`; tests open and close one in their own process.
"""

from __future__ import annotations

import dataclasses
import functools
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

from holdfastd import MAX_API_VERSION, MIN_API_VERSION, __version__, descriptors, failpoints, logs
from holdfastd.composition import OpenStore, Parts, open_store
from holdfastd.errors import StoreReplaced
from holdfastd.filesystem import refuse_non_local
from holdfastd.foreign import find_files, naming_damage, own_blobs
from holdfastd.ground import replaced
from holdfastd.jobs.scheduler import Scheduler
from holdfastd.locks import DataDirLock, SocketLock, clean_mark
from holdfastd.rpc.listener import Listener
from holdfastd.settings import Settings

EXIT_SYNC_FAILED = 70
EXIT_THREAD_DIED = 70
EXIT_STORE_REPLACED = 72
EXIT_STUCK = 75
ANSWERS_S, SENDING_S = 0.5, 0.1
# Readers share the GIL with the writer; with a shorter switch interval the writer gets it back sooner. Throughput of appends,
# as a share of a no-op call's: 0.94 with Python's 5 ms, 0.96 with this (0.41 and 0.51 when each append held a thread).
SWITCH_INTERVAL_S = 0.0002

log = logs.logger(__name__)


class Daemon:
    """One store, opened and served.

    `open` returns when calls are served. `close` may be called from any thread, once.
    """

    def __init__(self, settings: Settings, end_process: Callable[[int], None] = os._exit, *, begin_anew: bool = False):
        """`begin_anew`: move files of another store into the quarantine, instead of raising SETUP because of them."""
        self._given = settings
        self._begin_anew = begin_anew
        self._end_process = end_process
        self._exits = ExitStack()
        self._ended = threading.Event()  # after the store was replaced; only tests see it set

    @property
    def scheduler(self) -> Scheduler:
        """The jobs; `serve` runs their timers."""
        return self._parts.scheduler

    def open(self) -> None:
        """Opens everything in order. When a step fails, closes what is open and raises that step's error."""
        began = time.monotonic()
        with ExitStack() as exits:
            self._start_time_ns = time.time_ns()
            descriptors.for_connections(self._given.readers, self._given.stream_threads)
            self.settings = self._with_memory(exits)
            was_clean = self._lock(exits)
            if not was_clean:
                log.warning("last_stop_was_unclean", extra={"data_dir": self.settings.data_dir})
                self._warn_of_missing_log()
            was_clean = self._settle_files() and was_clean
            exits.push(self._mark_clean)
            with naming_damage(self.settings.database_path):
                self._store = open_store(self.settings, exits, self.on_sync_failure)
                self._parts = self._make_parts(exits, self._store, was_clean)
            own_blobs(self.settings.blobs_dir, self._store.store_id)
            self._serve(exits)
            self._exits = exits.pop_all()
        log.info(
            "serving",
            extra={"socket": self.settings.socket, "data_dir": self.settings.data_dir, "after_s": time.monotonic() - began},
        )

    def close(self) -> None:
        """Stops in this order: calls and streams, socket, jobs, writer, readers, last checkpoint, connections, locks.

        When the store's files were replaced, ends the process instead: closing would write to files of another store.
        """
        try:
            self._parts.ground.check()
        except StoreReplaced:
            self._ended.wait()
            raise
        self._exits.close()

    def _with_memory(self, exits: ExitStack) -> Settings:
        """The settings. A store in memory gets a temporary directory, which is deleted when the daemon closes."""
        if not self._given.in_memory:
            return self._given
        directory = tempfile.mkdtemp(prefix="holdfast-")
        exits.callback(shutil.rmtree, directory, ignore_errors=True)
        return dataclasses.replace(self._given, data_dir=Path(directory), persist_db_path=None)

    def _lock(self, exits: ExitStack) -> bool:
        """Takes the lock of the data directory, then that of the socket.

        Returns whether the last daemon stopped cleanly; also True for a new store.
        """
        settings = self.settings
        refuse_non_local(settings)
        self._data_dir_lock = DataDirLock(settings.data_dir)
        was_clean = self._data_dir_lock.acquire() or not settings.database_path.exists()
        exits.callback(self._data_dir_lock.release)
        self._socket_lock = SocketLock(settings.socket, {"pid": os.getpid(), "data_dir": str(settings.data_dir)})
        self._socket_lock.acquire()
        exits.callback(self._socket_lock.release)
        return was_clean

    def _warn_of_missing_log(self) -> None:
        """A daemon has a log while it serves. A process that is killed leaves it, and it may hold the newest commits."""
        database = self.settings.database_path
        database_log = database.with_name(database.name + "-wal")
        if self._data_dir_lock.last_was_serving and database.exists() and not database_log.exists():
            text = f"The last daemon was killed, but {database_log} is missing. If it was removed, the commits in it are lost. "
            log.warning("log_missing", extra={"text": text + "Restore a backup that has them if you need them."})

    def _settle_files(self) -> bool:
        """Raises SETUP when database, log and blobs are not of one store; with `begin_anew`, moves the foreign ones away.

        Returns whether `recover` has nothing to do if the last stop was clean.
        """
        files = find_files(self.settings, self._data_dir_lock.last_store_id)
        if self._begin_anew and files.begin_anew():
            return False
        files.refuse_foreign()
        if self._data_dir_lock.was_left(self.settings.database_path):
            return True
        text = f"{self.settings.database_path} is not the file that the last daemon left, but a copy that took its place"
        log.warning("not_as_stopped", extra={"text": text})
        files.move_unnamed()
        return False

    def _make_parts(self, exits: ExitStack, store: OpenStore, was_clean: bool) -> Parts:
        parts = Parts(
            self.settings,
            store,
            self.on_sync_failure,
            start_time_ns=self._start_time_ns,
            was_clean=was_clean,
            on_replaced=self.on_replaced,
        )
        exits.callback(parts.gate.close)
        exits.callback(self._drain_writer)
        exits.callback(parts.scheduler.stop, self.settings.grace_s)
        return parts

    def _serve(self, exits: ExitStack) -> None:
        self._listener = Listener(self.settings.socket, self._parts.servers(), self._parts.door())
        # Durable before the first call: from then on, a power cut must not leave `clean` from the last stop.
        self._data_dir_lock.write(self._card() | {"pid": os.getpid(), "socket": str(self.settings.socket)})
        self._listener.bind()
        # The socket is removed after the last call has ended; its lock is held until everything else is closed.
        exits.callback(self._listener.unlink)
        exits.callback(self._stop_serving)

    def _card(self) -> dict[str, Any]:
        """The part of `daemon.json` that remains when the daemon has stopped."""
        return {
            "store_id": self._store.store_id,
            "version": __version__,
            "min_api_version": MIN_API_VERSION,
            "max_api_version": MAX_API_VERSION,
            "start_time": self._start_time_ns,
        }

    def _stop_serving(self) -> None:
        """Refuses new calls, ends streams, and waits up to the grace for the calls in progress."""
        grace_s, parts = self.settings.grace_s, self._parts
        log.info("stopping", extra={"active_calls": parts.gate.active_calls(), "grace_s": grace_s})
        parts.health.say_not_serving()
        parts.gate.stop()
        failpoints.hit("stop.refusing_calls")
        if not self._listener.stop(grace_s, parts.feed.close, parts.gate.active_calls):
            log.warning("calls_cut_off")

    def _drain_writer(self) -> None:
        """Waits for the queued commits. Ends the process when the writer hangs: its connection is in use and cannot be closed."""
        if not self._parts.writer.stop(self.settings.grace_s):
            log.critical("writer_not_drained", extra={"grace_s": self.settings.grace_s, **_stack_tops()})
            self._end_process(EXIT_STUCK)
        failpoints.hit("stop.writer_drained")

    def _mark_clean(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        """Writes into `daemon.json` that the daemon stopped in order. Does nothing when closing failed.

        Marks it clean, so that the next start skips `recover`, unless `recover` has work.
        """
        if error is None:
            is_clean = not self._parts.blob_sweep.needs_recovery
            if is_clean:
                self._parts.blob_sweep.sync_unlinks()
            if not self._data_dir_lock.is_in_place():
                self._tell_replaced(f"{self.settings.data_dir} was replaced")
                self._end_process(EXIT_STORE_REPLACED)
                return
            self._data_dir_lock.write(self._card() | (clean_mark(self.settings.database_path) if is_clean else {}))
            failpoints.hit("stop.marked_clean")

    def on_sync_failure(self, error: BaseException) -> None:
        """Ends the process: after a failed fsync, reads may return pages from the cache that are not on disk."""
        log.critical("sync_failed", extra={"error": type(error).__name__, "errno": getattr(error, "errno", None)})
        self._end_process(EXIT_SYNC_FAILED)

    def on_replaced(self, reason: str) -> None:
        """Ends the process soon, and not in order: that would write to the files that are at the paths now. Until then, for at
        most ANSWERS_S, calls and streams are told why; nothing is acknowledged any more, because the ground stays lost."""
        self._tell_replaced(reason)
        refusal = functools.partial(replaced, reason)
        self._parts.gate.stop(refusal)
        self._parts.feed.close(refusal)
        try:
            threading.Thread(target=self._end_replaced, name="ending", daemon=True).start()
        except RuntimeError:  # the system starts no more threads
            self._end_process(EXIT_STORE_REPLACED)

    def _tell_replaced(self, reason: str) -> None:
        text = f"{reason}. Nothing was acknowledged since. Put the directory back, or start the daemon again on what is there now"
        advice = "; if the files there do not belong together, it refuses to start and says what to do."
        log.critical("store_replaced", extra={"text": text + advice, "data_dir": self.settings.data_dir})

    def _end_replaced(self) -> None:
        deadline = time.monotonic() + ANSWERS_S - SENDING_S
        while self._parts.gate.active_calls() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(SENDING_S)  # grpcio and the door may still be sending the last answers
        self._end_process(EXIT_STORE_REPLACED)
        self._ended.set()

    def keep_reachable(self) -> None:
        """Checks that the store's files are still at their paths, binds the socket again when it was removed, and restores a
        deleted `daemon.json`. Call it about once a second.

        Ends the process when a serving thread or the writer's thread has died: callers would only time out, and while the process
        held the locks no other daemon could start.
        """
        if not self._listener.is_served():
            log.critical("serving_thread_died", extra={"socket": self.settings.socket})
            self._end_process(EXIT_THREAD_DIED)
        if not self._parts.writer.is_alive():
            log.critical("writer_thread_died", extra={"queued": self._parts.writer.queued})
            self._end_process(EXIT_THREAD_DIED)
        try:
            self._parts.ground.check()
        except StoreReplaced:
            return  # the process ends
        self._data_dir_lock.ensure()
        if self._listener.is_bound():
            return
        self._socket_lock.ensure()
        self._listener.bind()
        log.warning("socket_bound_again", extra={"socket": self.settings.socket})

    def idle_s(self) -> float:
        """Seconds since the last call ended; 0 while one is in progress."""
        gate = self._parts.gate
        return 0.0 if gate.active_calls() else time.monotonic() - gate.last_activity()


def end_stuck(timeout_s: float, end_process: Callable[[int], None] = os._exit) -> None:
    """Ends the process and logs what each thread was doing. The watchdog calls it `timeout_s` after the stop began."""
    log.critical("stuck", extra={"after_s": timeout_s, **_stack_tops()})
    end_process(EXIT_STUCK)


def _stack_tops() -> Mapping[str, str]:
    """Log fields with the innermost frame of each thread."""
    names = {each.ident: each.name for each in threading.enumerate()}
    return {
        f"thread_{number}": f"{names.get(ident)}: {frame.f_code.co_name} {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        for number, (ident, frame) in enumerate(sys._current_frames().items())
    }
