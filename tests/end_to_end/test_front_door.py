"""The front door of a daemon: limits on connections and descriptors, and what callers are told."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from holdfast.v1 import admin_service_pb2, blob_service_pb2
from holdfastd.daemon import EXIT_THREAD_DIED
from tests.end_to_end.daemons import PATIENCE_S, DaemonProcess, Directory, eventually
from tests.support.api import TIMEOUT_S, Api, refused

pytestmark = pytest.mark.slow  # processes of its own


@contextlib.contextmanager
def idle_connections(path: Path, count: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing; fewer when the daemon accepts no more."""
    with contextlib.ExitStack() as exits:
        made = []
        for _ in range(count):
            each = exits.enter_context(socket.socket(socket.AF_UNIX))
            each.connect(str(path))
            made.append(each)
        yield made


def limited(directory: Directory, descriptors: int) -> DaemonProcess:
    """A daemon that may open this many files, no more."""
    log_path = directory.path / f"{len(directory.daemons)}.log"
    paths = [
        "--data-dir",
        str(directory.path / "store"),
        "--socket",
        str(directory.path / "run/s.sock"),
        "--preface-timeout",
        "1",
    ]
    command = f"ulimit -n {descriptors}; exec {shlex.join([sys.executable, '-m', 'holdfastd', *paths])}"
    with log_path.open("w") as log:
        process = subprocess.Popen(["/bin/sh", "-c", command], stderr=log, text=True)
    daemon = DaemonProcess(process, directory.path / "store", directory.path / "run/s.sock", log_path)
    directory.daemons.append(daemon)
    return daemon


def put(api: Api, content: bytes) -> str:
    frames = [
        blob_service_pb2.BlobServicePutRequest(header=blob_service_pb2.BlobPutHeader()),
        blob_service_pb2.BlobServicePutRequest(chunk=content),
    ]
    return str(api.blob.Put(iter(frames), timeout=TIMEOUT_S).digest)


def get(api: Api, digest: str) -> bytes:
    request = blob_service_pb2.BlobServiceGetRequest(digest=digest)
    return b"".join(each.chunk for each in api.blob.Get(request, timeout=TIMEOUT_S))


def problems(api: Api) -> list[str]:
    request = admin_service_pb2.AdminServiceVerifyRequest(read_blobs=True)
    return [each.reason for frame in api.admin.Verify(request, timeout=TIMEOUT_S) for each in frame.problems]


def test_a_caller_beyond_the_limit_is_told_so(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--user-connections-max", "4")
    with Api(daemon.socket) as one, Api(daemon.socket) as two, Api(daemon.socket) as three:
        assert one.insert("task", title="x") and two.insert("task", title="y")
        refusal = refused(lambda: three.insert("task", title="z"))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CONNECTIONS")
        assert f"process {os.getpid()} has 2 connections open, and its user may open 2 more" in refusal.message
        one.channel.close()
        assert eventually(lambda: can_insert(three))
    assert daemon.log().count("event=connections_refused") == 1


def can_insert(api: Api) -> bool:
    try:
        return bool(api.insert("task", title="z"))
    except grpc.RpcError:
        return False


def is_told_of(daemon: DaemonProcess) -> bool:
    """The log has one line a minute for both: connections refused, and, when accept fails before that, not accepted."""
    return any(f"event=connections_{each}" in daemon.log() for each in ("refused", "not_accepted"))


def test_a_flood_of_connections_takes_no_descriptor_that_calls_need(directory: Directory) -> None:
    daemon = limited(directory, 64).await_serving()
    with Api(daemon.socket) as api:
        content = os.urandom(300_000)
        digest = put(api, content)
        with idle_connections(daemon.socket, 200):
            for number in range(10):
                assert api.insert("task", title=str(number))
                assert get(api, digest) == content
                assert put(api, os.urandom(100_000))
            assert problems(api) == []
            assert eventually(lambda: is_told_of(daemon)), daemon.log()
        with Api(daemon.socket) as later:
            assert eventually(lambda: can_insert(later))
    assert daemon.end() == 0
    assert "level=error" not in daemon.log()
    assert "level=critical" not in daemon.log()


@pytest.mark.parametrize("descriptors", [16, 29, 40])
def test_too_low_a_limit_of_open_files_is_a_clear_refusal(directory: Directory, descriptors: int) -> None:
    daemon = limited(directory, descriptors)
    assert daemon.process.wait(PATIENCE_S) == 1
    assert f"The process may open {descriptors} files (`ulimit -n`)" in daemon.log()
    assert not daemon.data_dir.exists()


FEW_THREADS = """\
import sys, threading
start, left = threading.Thread.start, [int(sys.argv.pop(1))]
def limited(thread):
    if not left[0]:
        raise RuntimeError("can't start new thread")
    left[0] -= 1
    start(thread)
threading.Thread.start = limited
from holdfastd.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("allowed", [0, 3, 13])
def test_too_low_a_limit_of_threads_is_a_clear_refusal(tmp_path: Path, allowed: int) -> None:
    command = [
        sys.executable,
        "-c",
        FEW_THREADS,
        str(allowed),
        "--data-dir",
        str(tmp_path / "d"),
        "--socket",
        str(tmp_path / "s"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1, done.stderr
    assert "reason=SETUP" in done.stderr
    assert f"The system started only {allowed} of the 16 threads" in done.stderr
    assert "`ulimit -u`" in done.stderr
    assert not (tmp_path / "d").exists()


WITHOUT_DESCRIPTORS = """\
import errno, os
real = os.open
def limited(path, *given, **options):
    if os.path.exists(os.environ["LIMIT"]) and "/blobs/" in os.fspath(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
    return real(path, *given, **options)
os.open = limited
"""


def test_a_lack_of_descriptors_is_not_taken_for_damage(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(WITHOUT_DESCRIPTORS)
    limit = directory.path / "limit"
    daemon = directory.serve(PYTHONPATH=str(directory.path), LIMIT=str(limit))
    with Api(daemon.socket) as api:
        content = os.urandom(300_000)
        digest = put(api, content)
        limit.touch()
        for call in (lambda: get(api, digest), lambda: put(api, os.urandom(100_000)), lambda: problems(api)):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
            assert "ulimit -n" in caught.value.details()  # type: ignore[attr-defined]
        limit.unlink()
        assert get(api, digest) == content
        assert put(api, os.urandom(100_000))
        assert problems(api) == []


def test_the_soft_limit_of_open_files_is_raised(directory: Directory) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    daemon = directory.serve()
    assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


DYING = """\
import os
import holdfastd.rpc.door as door
finish = door.Door._finish_batch
def dying(self):
    if os.path.exists(os.environ["DIE"]):
        raise LookupError
    finish(self)
door.Door._finish_batch = dying
"""


def test_a_door_thread_that_dies_ends_the_process(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(DYING)
    die = directory.path / "die"
    daemon = directory.serve(PYTHONPATH=str(directory.path), DIE=str(die))
    with Api(daemon.socket) as api:
        task = api.insert("task", title="x")
        die.touch()
        with pytest.raises(grpc.RpcError):
            api.get("task", task)
            api.get("task", task)
        assert daemon.wait(PATIENCE_S) == EXIT_THREAD_DIED
    assert "level=critical event=serving_thread_died" in daemon.log()


def test_no_name_leads_to_the_inner_socket(directory: Directory) -> None:
    daemon = directory.serve()
    assert sorted(os.listdir(daemon.socket.parent)) == ["s.sock", "s.sock.lock"]
    abstract = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if " @holdfast-inner" in line]
    assert abstract == []
