"""Where the user's sockets lie: daemon and client choose the same directory, and never one that another user can write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.contract import places
from holdfast.contract.places import fault_of, runtime_dir
from holdfast.wire.address import Place, user_place
from holdfastd.settings import load_settings

OTHER = os.geteuid() + 1


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of /tmp, and an empty home beside it."""
    shared, home = tmp_path / "tmp", tmp_path / "home"
    shared.mkdir()
    shared.chmod(0o1777)
    home.mkdir()
    monkeypatch.setattr(places, "SHARED", shared)
    monkeypatch.setattr(places, "home", lambda _: home)
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "HOLDFAST_DATA_DIR", "PERSISTENCE", "PERSIST_DB_PATH"):
        monkeypatch.delenv(name, raising=False)
    return shared


def in_shared(shared: Path) -> Path:
    return shared / f"holdfast-{os.geteuid()}"


def in_home(shared: Path) -> Path:
    return shared.parent / "home" / ".local" / "state" / "holdfast"


def test_without_a_runtime_directory_it_is_in_the_shared_one(shared: Path) -> None:
    assert runtime_dir({}) == in_shared(shared)
    in_shared(shared).mkdir(mode=0o700)
    assert runtime_dir({}) == in_shared(shared)
    assert not in_home(shared).exists(), "choosing must create nothing"


def test_a_runtime_directory_of_the_user_is_preferred(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path / "run")}) == tmp_path / "run" / "holdfast"


def test_a_runtime_directory_of_another_user_is_ignored(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert runtime_dir({"XDG_RUNTIME_DIR": str(tmp_path / "run")}).parent != tmp_path / "run"


def make_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def make_file(path: Path) -> None:
    path.touch()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("/nonexistent/directory")


@pytest.mark.parametrize("occupy", [make_writable, make_file, make_dangling_link])
def test_a_place_that_another_user_took_is_refused_by_daemon_and_client(shared: Path, occupy: object) -> None:
    occupy(in_shared(shared))  # type: ignore[operator]
    assert runtime_dir({}) == in_home(shared)
    assert load_settings({}, {}).socket.parent == in_home(shared)
    assert user_place().socket_path.parent == in_home(shared)


def test_after_the_first_refusal_the_choice_stays(shared: Path) -> None:
    """Otherwise another user could move clients to a second daemon by removing the directory again."""
    make_writable(in_shared(shared))
    runtime_dir({}).mkdir(parents=True, mode=0o700)
    in_shared(shared).rmdir()
    assert runtime_dir({}) == in_home(shared)


def test_a_shared_directory_without_the_sticky_bit_is_not_used(shared: Path) -> None:
    """Whoever can write to it can rename the user's directory and put another in its place."""
    shared.chmod(0o777)
    assert runtime_dir({}) == in_home(shared)
    (shared.parent / "home").chmod(0o777)
    assert runtime_dir({}) == in_shared(shared), "it is better than none, and the connection is still checked"


def test_a_place_that_is_taken_later_is_left_at_the_next_start(shared: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "data", in_shared(shared) / "holdfast.sock", ())
    assert {each.parent for each in place.start_sockets} == {in_shared(shared)}
    make_writable(in_shared(shared))
    assert {each.parent for each in place.start_sockets} == {in_home(shared)}
    assert in_home(shared) / "holdfast.sock" in place.sockets


def test_home_is_the_variable_before_the_entry_of_the_user() -> None:
    assert places.home({"HOME": "/somewhere/else"}) == Path("/somewhere/else")
    assert places.home({"HOME": "relative"}) == places.home({}) == places.entered_home()


def test_that_no_place_can_be_used_is_told_with_the_owner(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.fault_of_all({}) == ""
    in_shared(shared).mkdir(mode=0o700)
    monkeypatch.setattr(places, "home", lambda _: Path("/dev/null/home"))
    assert places.fault_of_all({}) == ""
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    in_shared(shared).mkdir(mode=0o700)
    owned = f"The directory {in_shared(shared)} belongs to user {os.getuid()}, not to {OTHER}; /dev/null/home/"
    assert places.fault_of_all({}).startswith(owned)


@pytest.mark.parametrize(("mode", "is_refused"), [(0o700, False), (0o755, False), (0o770, True), (0o707, True), (0o1777, True)])
def test_the_mode_decides_whether_others_can_write(tmp_path: Path, mode: int, is_refused: bool) -> None:
    tmp_path.chmod(mode)
    assert bool(fault_of(tmp_path)) is is_refused
    assert bool(fault_of(tmp_path, others_write=stat.S_IWOTH)) is (is_refused and mode != 0o770)


def test_the_owner_of_the_directory_and_of_a_link_to_it_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.geteuid()
    (tmp_path / "link").symlink_to(tmp_path)
    assert not fault_of(tmp_path / "link")
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    for each in (tmp_path, tmp_path / "link"):
        assert f"belongs to user {own}, not to {OTHER}" in fault_of(each)
        assert not fault_of(each, (own,))
