"""Overload by large commits, scans, unread lists, uploads, slow small calls, watches of many names, long reads without a pause,
and many workspaces: the daemon's memory stays bounded, and honest callers are served."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

import holdfast
from holdfast.v1.admin_service_pb2 import AdminServiceGetStatusRequest
from tests.abuse import callers
from tests.abuse.attack import Attack
from tests.abuse.callers import GreedyCallers
from tests.abuse.honest import HonestCaller
from tests.end_to_end.daemons import DaemonProcess
from tests.support.api import Api
from tests.support.memory import MIB, watched
from tests.support.workspaces import make_workspaces

KEPT_MIB = 150  # what the allocator may keep afterwards, beyond what the daemon had before
FROZEN_S = 3.0
STATUS_MAX_BYTES = 64 << 10
_GIVEN_BACK_S = 15.0


@dataclass(frozen=True)
class Peak:
    """What the greedy callers do, and how often at once. Those of a `frozen` peak read nothing and are killed at its end."""

    what: str
    full: int
    short: int
    seeded: bool = False  # the calls read large tasks
    history: bool = False  # the calls walk a long history
    frozen: bool = False


PEAKS = (
    Peak("commits", 300, 30),
    Peak("scans", 24, 6, seeded=True),
    Peak("lists", 2_500, 300, seeded=True, frozen=True),
    Peak("puts", 90, 12),
    Peak("small", 16, 4),
    Peak("wide-watches", 120, 30),
    Peak("walks", 48, 16, history=True),
)


def run(attack: Attack) -> None:
    """Each peak has a daemon of its own, because a process keeps some of the memory that it once had."""
    for peak in PEAKS:
        daemon = attack.serve(peak.what)
        callers.seed(daemon.socket, attack.size(16, 4) if peak.seeded else 0)
        if peak.history:
            callers.seed_history(daemon.socket, attack.size(60, 5))
        _overload(attack, peak, daemon)
        attack.check_serving(daemon, peak.what)
        attack.stop(daemon, peak.what)
    _many_workspaces(attack)


def _many_workspaces(attack: Attack) -> None:
    """Anyone can make workspaces. Whatever their number, the status stays small and clients connect."""
    daemon = attack.serve("workspaces")
    count = attack.size(90_000, 3_000)
    with watched(daemon.process.pid) as memory:
        make_workspaces(daemon.socket, (f"w{number:06}".ljust(199, "x") for number in range(count)))
    with Api(daemon.socket) as api, holdfast.connect(daemon.socket) as store:
        size, found = api.admin.GetStatus(AdminServiceGetStatusRequest()).ByteSize(), sum(1 for _ in store.workspaces())
    attack.tell(f"{count} workspaces: a status of {size} bytes; memory +{memory.growth_mib:.0f} MiB")
    attack.demand(size <= STATUS_MAX_BYTES, f"{count} workspaces: a status of {size} bytes")
    attack.demand(found == count, f"{count} workspaces: {found} are listed")
    attack.check_memory(memory, "workspaces")
    attack.check_serving(daemon, "workspaces")
    attack.stop(daemon, "workspaces")


def _overload(attack: Attack, peak: Peak, daemon: DaemonProcess) -> None:
    count = attack.size(peak.full, peak.short)
    before_mib = _rss_mib(daemon)
    with watched(daemon.process.pid) as memory, HonestCaller(daemon.socket) as honest:
        outcomes = _greedy_calls(peak, daemon, count)
    highest_mib = memory.highest_bytes / MIB
    after_mib = _settled_mib(daemon, before_mib + KEPT_MIB)
    sizes = f"memory {before_mib:.0f} MiB before, {highest_mib:.0f} at most, {after_mib:.0f} after"
    attack.tell(f"{count} {peak.what}: {sizes}; {outcomes}; {honest.answers}")
    attack.check_memory(memory, peak.what)
    attack.check_answers(honest.answers, peak.what)
    attack.demand(after_mib <= before_mib + KEPT_MIB, f"{peak.what}: memory is not given back: {sizes}")


def _greedy_calls(peak: Peak, daemon: DaemonProcess, count: int) -> dict[str, int]:
    """Runs the greedy callers to their end; returns the outcomes of their calls."""
    greedy = GreedyCallers(daemon.socket, peak.what, count)
    try:
        if not peak.frozen:
            return greedy.outcomes()
        greedy.freeze()
        time.sleep(FROZEN_S)
        return {"frozen": count}
    finally:
        greedy.kill()


def _settled_mib(daemon: DaemonProcess, limit_mib: float) -> float:
    """The memory once it is below the limit, or after a few seconds."""
    deadline = time.monotonic() + _GIVEN_BACK_S
    while (found := _rss_mib(daemon)) > limit_mib and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _rss_mib(daemon: DaemonProcess) -> float:
    return float(psutil.Process(daemon.process.pid).memory_info().rss) / MIB
