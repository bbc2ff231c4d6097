"""All syncs of the daemon go through one module, which on macOS also empties the drive's cache."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import closing
from pathlib import Path

import pytest

from holdfastd import durable
from holdfastd.store.sqlite.database import Database

F_FULLFSYNC = 51  # its number on macOS


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that a sync makes on this system, by name."""
    called: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: called.append("fsync"))
    return called


@pytest.fixture
def full_syncs(syncs: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The same on a system that has F_FULLFSYNC."""

    def control(descriptor: int, command: int) -> int:
        assert command == F_FULLFSYNC
        syncs.append("F_FULLFSYNC")
        return 0

    monkeypatch.setattr(durable, "_FULL_SYNC", F_FULLFSYNC)
    monkeypatch.setattr(fcntl, "fcntl", control)
    return syncs


def test_a_sync_is_an_fsync(syncs: list[str], tmp_path: Path) -> None:
    durable.sync_directory(tmp_path)
    assert syncs == ["fsync"]


def test_on_macos_a_sync_empties_the_drives_cache(full_syncs: list[str], tmp_path: Path) -> None:
    durable.sync_directory(tmp_path)
    (tmp_path / "file").touch()
    durable.sync_file(tmp_path / "file")
    assert full_syncs == ["F_FULLFSYNC", "F_FULLFSYNC"]


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_without_full_syncs_gets_an_fsync(
    full_syncs: list[str], tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", raising(number))
    durable.sync_directory(tmp_path)
    assert full_syncs == ["fsync"]


def test_a_full_sync_that_fails_is_not_replaced_by_an_fsync(
    full_syncs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", raising(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        durable.sync_directory(tmp_path)
    assert full_syncs == []


def raising(number: int) -> object:
    def control(descriptor: int, command: int) -> int:
        raise OSError(number, os.strerror(number))

    return control


def test_sqlite_empties_the_drives_cache_on_macos_too(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "a.db").open_writer()) as connection:
        for pragma in ("fullfsync", "checkpoint_fullfsync"):
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (1,)


def test_the_parents_of_a_directory_are_synced_up_to_the_mount_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(durable, "sync_directory", synced.append)
    path = tmp_path / "a" / "b"
    path.mkdir(parents=True)
    (tmp_path / "link").symlink_to(path)
    durable.sync_parents(tmp_path / "link")
    mount_point = next(each for each in (path, *path.parents) if each.is_mount())
    assert synced == [each for each in reversed(path.parents) if each.is_relative_to(mount_point)]


def test_a_parent_that_this_user_cannot_open_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a" / "b", []
    path.mkdir(parents=True)

    def refuse_one(directory: Path) -> None:
        if directory == tmp_path:
            raise PermissionError
        synced.append(directory)

    monkeypatch.setattr(durable, "sync_directory", refuse_one)
    durable.sync_parents(path)
    assert synced[-2:] == [tmp_path.parent, tmp_path / "a"]
