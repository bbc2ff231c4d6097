"""Daemons that are forked from one process that has imported holdfastd, so that a start costs no imports.

`python -m tests.support.forker` is that process. It has no thread and has not used grpcio yet, so a fork is safe. It reads
requests from its input, a JSON list per line, and prints each answer: ["start", ARGUMENTS, LOG, ENVIRONMENT, DIRECTORY] answers
the pid, ["poll", PID] answers the exit code, negative for a signal, or null.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_CRASHED = 99
# A variable of such a name is read when the interpreter starts or grpcio is imported, which precedes the fork.
_READ_EARLY = ("PYTHON", "GRPC_", "LD_", "MALLOC_")


class Forker:
    """The forking process. Its `start` starts a daemon; see `tests.durability.daemon.Start`. Threads may share it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.forker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()
        self._early = _read_early(os.environ)

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a forked daemon can have this environment: what is read before the fork is as in the forking process."""
        return _read_early(environment) == self._early

    def start(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> ForkedDaemon:
        """Starts `holdfastd ARGUMENTS` with this environment (None: the caller's); its output is appended to the log."""
        given = dict(os.environ if environment is None else environment)
        return ForkedDaemon(self, int(self.ask("start", list(arguments), str(log), given, os.getcwd())))

    def ask(self, *request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the forking process, but no daemon."""
        self._process.communicate()


@functools.cache
def shared_forker() -> Forker:
    """The forker of this test process, which ends with it."""
    forker = Forker()
    atexit.register(forker.close)
    return forker


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_EARLY)}


class ForkedDaemon:
    """A forked daemon, with what the tests use of `subprocess.Popen`. Implements `tests.durability.daemon.Child`."""

    def __init__(self, forker: Forker, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forker = forker
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._forker.ask("poll", self.pid)
            if self.returncode is not None:
                os.close(self._descriptor)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ended = select.poll()  # not `select`: the descriptor may be above 1,024
            ended.register(self._descriptor, select.POLLIN)
            ended.poll(None if timeout is None else timeout * 1000)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("holdfastd", timeout or 0.0)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def main() -> int:
    from holdfastd import composition, daemon, supervisor  # noqa: F401  imported for the daemons

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, which end this process
    for line in sys.stdin:
        what, *rest = json.loads(line)
        print(json.dumps(_fork(*rest) if what == "start" else _code_of(*rest)), flush=True)
    return 0


def _code_of(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _fork(*request: Any) -> int:
    pid = os.fork()
    if pid == 0:
        _serve(*request)
    return pid


def _serve(arguments: list[str], log: str, environment: dict[str, str], directory: str) -> NoReturn:
    """Runs the daemon in the forked process, which must not return to the loop of its parent."""
    from holdfastd.__main__ import main as holdfastd

    code = _CRASHED
    try:
        _become_a_new_process(log, environment, directory)
        code = holdfastd(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else _CRASHED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _become_a_new_process(log: str, environment: dict[str, str], directory: str) -> None:
    """Takes over the starter's environment and directory, and what the daemon's modules read from them when imported."""
    from holdfastd import failpoints
    from holdfastd.model import call

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, max(nothing, output) + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    importlib.reload(failpoints)
    object.__setattr__(call.OWN, "pid", os.getpid())


if __name__ == "__main__":
    sys.exit(main())
