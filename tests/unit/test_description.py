"""What the client does with a `daemon.json` of any content: it reads it without blocking, within bounds, and says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.holder import holder_of
from holdfast.errors import FailedPrecondition
from holdfast.wire import autostart
from holdfast.wire.address import Place
from holdfast.wire.description import LIMIT_BYTES, Description, check_held, read_description


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"pid": 1}')
        file.truncate(1 << 40)


Harms = dict[str, tuple[Callable[[Path], object], str]]
TORN: Harms = {
    "nested deeply": (lambda path: path.write_text("[" * 60_000), "nested too deeply"),
    "nested objects": (lambda path: path.write_text('{"a":' * 10_000), "nested too deeply"),
    "megabytes": (lambda path: path.write_bytes(b" " * (LIMIT_BYTES + 1)), "longer than 64 KiB"),
    "a terabyte": (huge, "longer than 64 KiB"),
    "not JSON": (lambda path: path.write_bytes(b"\xff\xfe{"), "not JSON"),
    "half of it": (lambda path: path.write_text('{"pid": 4'), "not JSON"),
    "a large number": (lambda path: path.write_text('{"pid": 1' + "0" * 5000 + "}"), "not JSON"),
    "not an object": (lambda path: path.write_text("[]"), "not a JSON object"),
    "a pid that is no number": (lambda path: path.write_text('{"pid": true}'), "`pid`"),
    "a pid out of range": (lambda path: path.write_text('{"pid": -1}'), "`pid`"),
    "a socket that is no path": (lambda path: path.write_text('{"socket": ["x"]}'), "`pid`"),
    "a relative socket": (lambda path: path.write_text('{"socket": "s.sock"}'), "`pid`"),
    "a NUL in the socket": (lambda path: path.write_text(r'{"socket": "/a\u0000b"}'), "`pid`"),
}
NOT_REGULAR: Harms = {
    "a link": (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to("/nonexistent"), "a symbolic link"),
    "a link to itself": (lambda path: path.symlink_to(path), "a symbolic link"),
    "a directory": (Path.mkdir, "not a regular file"),
    "a FIFO": (os.mkfifo, "not a regular file"),
}


def check_refused(path: Path, said: str, advice: str) -> None:
    """Reading is refused with a message that says what to do, and takes little memory."""
    tracemalloc.start()
    with pytest.raises(FailedPrecondition, match=said) as refused:
        read_description(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert str(path) in refused.value.message and advice in refused.value.message


@pytest.mark.parametrize(("harm", "said"), NOT_REGULAR.values(), ids=NOT_REGULAR.keys())
def test_what_is_not_a_regular_file_is_refused(tmp_path: Path, harm: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "daemon.json"
    harm(path)
    check_refused(path, said, "remove it")
    place = Place(tmp_path, tmp_path / "none.sock", ())
    assert (place.described_pid, place.described_socket) == (0, tmp_path / "none.sock"), "the other sockets are tried first"
    with pytest.raises(FailedPrecondition, match=said):
        autostart.find(place, timeout_s=1)
    with pytest.raises(FailedPrecondition, match=said):
        autostart.find_or_start(place, timeout_s=1, idle_exit_s=1)


@pytest.mark.parametrize(("harm", "said"), TORN.values(), ids=TORN.keys())
def test_torn_content_is_refused_only_where_no_daemon_is_started(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "daemon.json"
    harm(path)
    check_refused(path, said, "start one")
    place = Place(tmp_path, tmp_path / "none.sock", ())
    assert (place.described_pid, place.described_socket) == (0, tmp_path / "none.sock"), "the other sockets are tried first"
    assert autostart.find(place, timeout_s=1) is None
    with pytest.raises(FailedPrecondition, match=said):
        autostart.await_running(place, timeout_s=0)


def test_a_file_that_a_running_daemon_holds_must_be_readable(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"pid": 4')
    check_held(path)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FailedPrecondition, match="not JSON"):
            check_held(path)


@pytest.mark.parametrize("left", [None, b""])
def test_a_file_that_is_missing_or_empty_names_nothing(tmp_path: Path, left: bytes | None) -> None:
    if left is not None:
        (tmp_path / "daemon.json").write_bytes(left)
    assert read_description(tmp_path / "daemon.json") == Description()
    assert read_description(tmp_path / "daemon.json" / "below") == Description()


def test_what_a_daemon_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"pid": 12, "socket": "/run/\udcff/s.sock", "clean": True, "store_id": "x"}))
    assert read_description(path) == Description(12, "/run/\udcff/s.sock")


@pytest.mark.parametrize("harm", [os.mkfifo, Path.mkdir], ids=["FIFO", "directory"])
def test_a_lock_file_that_is_none_does_not_block(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    harm(tmp_path / "s.sock.lock")
    with pytest.raises(FailedPrecondition, match="it is not a regular file"):  # as `status` and `up` say it
        holder_of(tmp_path / "s.sock.lock")


def test_a_lock_file_is_not_looked_for_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "s.sock.lock").symlink_to("/dev/tty")
    with pytest.raises(FailedPrecondition, match="symbolic link"):
        holder_of(tmp_path / "s.sock.lock")
