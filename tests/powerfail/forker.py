"""Daemons that are forked from one process that has imported holdfastd, so that a start costs no imports.

`python -m tests.powerfail.forker` is that process. It has no thread and has not used grpcio yet, so a fork is safe. It reads
requests from its input, a JSON list per line, and prints each answer: ["start", ARGUMENTS, LOG] answers the pid, ["poll", PID]
and ["wait", PID] answer the exit code, negative for a signal, or null.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_POLL_S = 0.003
_CRASHED = 99


class Forker:
    """The forking process. Its `start` starts a daemon; see `tests.durability.daemon.Start`. For one thread."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.powerfail.forker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, arguments: Sequence[str], log: Path) -> ForkedDaemon:
        return ForkedDaemon(self, int(self.ask("start", list(arguments), str(log))))

    def ask(self, *request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the forking process, but no daemon."""
        self._process.communicate()


class ForkedDaemon:
    """Implements `tests.durability.daemon.Child`."""

    def __init__(self, forker: Forker, pid: int) -> None:
        self._forker = forker
        self._pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ask("poll")

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            return self._ask("wait") or 0
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("holdfastd", timeout)
            time.sleep(_POLL_S)
        return code

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self._pid, number)

    def _ask(self, what: str) -> int | None:
        if self.returncode is None:
            self.returncode = self._forker.ask(what, self._pid)
        return self.returncode


def main() -> int:
    from holdfastd import composition, daemon, supervisor  # noqa: F401  imported for the daemons

    for line in sys.stdin:
        what, *rest = json.loads(line)
        print(json.dumps(_fork(*rest) if what == "start" else _wait(rest[0], block=what == "wait")), flush=True)
    return 0


def _wait(pid: int, *, block: bool) -> int | None:
    found, status = os.waitpid(pid, 0 if block else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _fork(arguments: list[str], log: str) -> int:
    pid = os.fork()
    if pid == 0:
        _serve(arguments, log)
    return pid


def _serve(arguments: list[str], log: str) -> NoReturn:
    """Runs the daemon in the forked process, which must not return to the loop of its parent."""
    from holdfastd.__main__ import main as holdfastd

    code = _CRASHED
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        code = holdfastd(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else _CRASHED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
