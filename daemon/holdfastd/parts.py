"""What the parts of a daemon are to each other: what is open when the services are made, and what the services give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from holdfastd.jobs.checkpointer import Alone
from holdfastd.jobs.scheduler import Job, Scheduler
from holdfastd.rpc.listener import BuildServer
from holdfastd.settings import Settings
from holdfastd.store.engine import Connection, Readers


class Activity(Protocol):
    """What the RPC layer knows about its callers."""

    def active_calls(self) -> int:
        """Calls in progress, streams included."""

    def last_activity(self) -> float:
        """When a call last began or ended, by time.monotonic."""


@dataclass(frozen=True, slots=True)
class Core:
    """What is open when the services are made."""

    settings: Settings
    writer_connection: Connection
    readers: Readers
    store_id: str
    start_time_ns: int
    was_clean: bool
    on_sync_failure: Callable[[BaseException], None]


@dataclass(frozen=True, slots=True)
class Services:
    """What the lifecycle needs of the layers between the connections and the socket."""

    build_server: Callable[[Scheduler], BuildServer]  # given the jobs, gives the factory that is called at each bind
    jobs: tuple[Job, ...]
    activity: Activity
    say_not_serving: Callable[[], None]  # health, and calls that come from now on get UNAVAILABLE
    wake_streams: Callable[[], None]  # watches and follows are told that the daemon stops
    alone: Alone  # runs something while the writer stands still
    drain_writer: Callable[[float], bool]  # refuses new commits, waits for those queued; whether all are done
    close: Callable[[], None]
    is_clean: Callable[[], bool] = lambda: True  # asked last: nothing is left for the next daemon to look for


OpenServices = Callable[[Core], Services]
