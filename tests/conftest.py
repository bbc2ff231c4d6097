"""A real daemon for tests: in memory, or on files with HOLDFAST_TEST_PERSISTENCE=sqlite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import holdfast
from holdfast.wire.autostart import answers
from tests.support.forker import ForkedDaemon, shared_forker

START_TIMEOUT_S = 45.0  # on a busy machine
SLOW_FOLDERS = (
    "registry",
    "scenarios",
    "landed",
)  # these take seconds each: every kind with random values, long scenarios, other versions


MEMORY_DISK = Path("/dev/shm")  # Linux mounts a tmpfs there
MEMORY_DISK_LEAST_BYTES = 4 << 30  # the slow tests hold up to 2 GiB at a time


settings.register_profile("tests", deadline=None)  # a busy machine takes any time for an example
settings.load_profile("tests")


def pytest_configure() -> None:
    """Puts temporary files into memory where there is room: no test cuts the power, and kills do not lose what a tmpfs has.

    TMPDIR chooses another place. The processes that the tests start inherit it.
    """
    if "TMPDIR" not in os.environ and MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_DISK_LEAST_BYTES:
        os.environ["TMPDIR"] = str(MEMORY_DISK)
        tempfile.tempdir = None  # it may have been chosen before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "daemon" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared_daemon)
        if item.path.relative_to(Path(__file__).parent).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


class DaemonProcess:
    """A daemon for tests, on a short path (a Unix socket's path has at most 107 bytes). It can be killed and restarted."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.directory = directory
        self.socket_path = directory / "run" / "holdfast.sock"
        self.data_dir = directory / "data"
        self.environment: dict[str, str] | None = None  # for the next start; None: the environment of the tests
        self._flags = flags
        self._process: subprocess.Popen[bytes] | ForkedDaemon | None = None

    def start(self) -> None:
        """Starts the daemon and returns when it serves."""
        self._process = self._started(["--socket", str(self.socket_path), *self._flags], self.directory / "log")
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.socket_path):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def _started(self, arguments: list[str], log_path: Path) -> subprocess.Popen[bytes] | ForkedDaemon:
        """Forks the daemon from a process that has imported it, or starts the version that `environment` chooses."""
        if self.environment is None and shared_forker().can_start(os.environ):
            return shared_forker().start(arguments, log_path)
        with log_path.open("ab") as log:
            command = [sys.executable, "-m", "holdfastd", *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Sends SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            return self._process.wait(START_TIMEOUT_S)
        finally:
            self._process = None


@pytest.fixture(scope="session")
def daemon() -> Iterator[DaemonProcess]:
    """The daemon that the tests share. It must stop without an error."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        in_memory = os.environ.get("HOLDFAST_TEST_PERSISTENCE", "memory") == "memory"
        flags = ["--persistence", "memory"] if in_memory else ["--data-dir", f"{directory}/data"]
        shared = DaemonProcess(Path(directory), *flags)
        shared.start()
        yield shared
        assert shared.stop() == 0, shared.log()


@pytest.fixture
def own_daemon() -> Iterator[DaemonProcess]:
    """A daemon on files for one test, which may kill and restart it."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        own = DaemonProcess(Path(directory), "--data-dir", f"{directory}/data")
        own.start()
        yield own
        own.stop()


@pytest.fixture
def store(daemon: DaemonProcess) -> Iterator[holdfast.Store]:
    """A client of the shared daemon in a new workspace."""
    with holdfast.connect(daemon.socket_path, workspace=f"test-{uuid.uuid4().hex}", actor="tester") as client:
        yield client
