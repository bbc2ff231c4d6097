"""Limits of the system: no thread or no descriptor to be had. Each call ends, nothing counts as damage, the daemon recovers."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc

from holdfast.v1 import blob_service_pb2
from tests.abuse.attack import FLAGS, Attack, described
from tests.end_to_end.daemons import DaemonProcess
from tests.support.api import Api

PROCESSES = 24  # for the user; the daemon would have several times as many threads
DESCRIPTORS = 64
IDLE_CONNECTIONS = 200
WATCHES = 60
CALLERS = 8
_TIMEOUT_S = 20.0
_ALLOWED = (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
# Keeps the right to read every file, since the interpreter may lie in root's home, and no right to exceed limits.
_AS_ANOTHER_USER = ("setpriv", "--clear-groups", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")


def run(attack: Attack) -> None:
    _no_threads(attack)
    _no_descriptors(attack)


def _no_threads(attack: Attack) -> None:
    """Streams take all threads that the user may have; then short calls and further streams ask for more."""
    uid = attack.rng.randrange(20_000, 60_000) if os.getuid() == 0 else os.getuid()
    limit = PROCESSES + _processes_of(uid)
    change = (*_AS_ANOTHER_USER, f"--reuid={uid}", f"--regid={uid}") if os.getuid() == 0 else ()
    place = attack.directory("threads", "prlimit", f"--nproc={limit}", *change)
    os.chown(place.path, uid, -1)
    daemon = place.serve("store", "s", *FLAGS)
    with Api(daemon.socket) as api:
        calls = _Calls(api)
        watches = [api.watch(after_revision=0, timeout_s=None) for _ in range(WATCHES)]
        time.sleep(1.0)
        threads = [threading.Thread(target=calls.several) for _ in range(attack.size(CALLERS, CALLERS // 2))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for watch in watches:
            watch.cancel()
    _judge(attack, "no threads", daemon, calls)


def _processes_of(uid: int) -> int:
    """How many threads the user's processes have."""
    found = subprocess.run(["ps", "-L", "-u", str(uid), "-o", "lwp="], capture_output=True, text=True, check=False)
    return len(found.stdout.split())


def _no_descriptors(attack: Attack) -> None:
    """Idle connections take all descriptors."""
    place = attack.directory("descriptors", "prlimit", f"--nofile={DESCRIPTORS}")
    daemon = place.serve("store", "s", *FLAGS)
    with Api(daemon.socket) as api:
        calls = _Calls(api)
        idle = [_connection(daemon) for _ in range(IDLE_CONNECTIONS)]
        time.sleep(1.0)
        calls.several()
        for each in idle:
            each.close()
    _judge(attack, "no descriptors", daemon, calls)


def _connection(daemon: DaemonProcess) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    made.connect_ex(str(daemon.socket))
    return made


class _Calls:
    """Calls of several sorts, and how they ended."""

    def __init__(self, api: Api) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        api.insert("session", id="S", title="s")
        self._digest = api.put(*[os.urandom(1 << 20) for _ in range(3)]).digest
        self._sorts: dict[str, Callable[[], Any]] = {
            "insert": lambda: api.insert("task", title="t"),
            "append": lambda: api.append("S", "x"),
            "get": lambda: api.get("session", "S"),
            "list": lambda: api.list("task", page_size=5),
            "put": lambda: api.put(os.urandom(100_000)),
            "download": lambda: list(
                api.blob.Get(blob_service_pb2.BlobServiceGetRequest(digest=self._digest), timeout=_TIMEOUT_S)
            ),
            "watch": lambda: api.changes(),
            "verify": lambda: self._no_problems(api.problems()),
        }

    def several(self) -> None:
        """Each sort ten times."""
        for _ in range(10):
            for name, call in self._sorts.items():
                self._one(name, call)

    def _one(self, name: str, call: Callable[[], Any]) -> None:
        code, said = grpc.StatusCode.OK, ""
        try:
            call()
        except grpc.RpcError as error:
            code, said = error.code(), described(error)
        with self._lock:
            self.outcomes[f"{name} {code.name}"] += 1
            if code not in _ALLOWED:
                self.wrong.append(f"{name} got {said}")

    def _no_problems(self, found: list[str]) -> None:
        self.wrong += [f"verify found {each}" for each in found]


def _judge(attack: Attack, name: str, daemon: DaemonProcess, calls: _Calls) -> None:
    attack.tell(f"{name}: {', '.join(f'{what} {count}' for what, count in sorted(calls.outcomes.items()))}")
    attack.demand(not calls.wrong, f"{name}: {len(calls.wrong)} calls ended wrongly, such as {sorted(set(calls.wrong))[:4]}")
    time.sleep(1.0)
    attack.check_serving(daemon, name)
    attack.stop(daemon, name)
