"""The daemon checks every path that it locks or maps: network file systems are refused unless forced."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfastd import filesystem
from holdfastd.__main__ import main
from holdfastd.daemon import Daemon
from holdfastd.errors import SetupError
from holdfastd.settings import load_settings

PLACES = ["data", "database", "run"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a short path, because the length of a socket's path is limited."""
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        yield Path(directory)


@pytest.fixture
def mount(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one directory of `home` look like a network mount."""

    def pretend(name: str) -> None:
        table = home / "mountinfo"
        table.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:40 / {home}/{name} rw - nfs4 server:/x rw\n")
        monkeypatch.setattr(filesystem, "MOUNTS", table)

    return pretend


def flags_of(home: Path, name: str, *more: str) -> list[str]:
    """The flags of a store; its database is in a separate directory if that is the one under test."""
    store = {"data": ["--data-dir", f"{home}/data"], "run": ["--data-dir", f"{home}/store"]}
    chosen = store.get(name, ["--persist-db-path", f"{home}/database/my.db"])
    return [*chosen, "--socket", f"{home}/run/s.sock", *more]


def settings_of(flags: list[str]) -> dict[str, str]:
    return {name.removeprefix("--").replace("-", "_"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}


@pytest.mark.parametrize("name", PLACES)
def test_a_daemon_is_refused_and_let_in_by_force(home: Path, mount: Callable[[str], None], name: str) -> None:
    (home / "database").mkdir()
    mount(name)
    said = rf"/{name}\S* is on a nfs4 file system \(mounted on {home}/{name}\).*force_nonlocal"
    with pytest.raises(SetupError, match=said):
        Daemon(load_settings(settings_of(flags_of(home, name)), {})).open()
    assert sorted(each.name for each in home.iterdir()) == ["database", "mountinfo"]
    forced = Daemon(load_settings(settings_of(flags_of(home, name, "--force-nonlocal", "on")), {}))
    forced.open()
    forced.close()


@pytest.mark.parametrize("name", PLACES)
def test_migrate_is_refused_and_let_in_by_force(
    home: Path, mount: Callable[[str], None], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "database").mkdir()
    mount(name)
    assert main(["migrate", *flags_of(home, name)]) == 1
    assert "is on a nfs4 file system" in capsys.readouterr().err
    assert main(["migrate", *flags_of(home, name, "--force-nonlocal")]) == 0
    assert "applied 0001" in capsys.readouterr().out


def test_the_database_beside_its_directory_is_looked_at_by_itself(home: Path, mount: Callable[[str], None]) -> None:
    """The directory beside the database may be a link to another disk."""
    (home / "database").mkdir()
    (home / "local").mkdir()
    (home / "database" / "my.db.d").symlink_to(home / "local")
    mount("database")
    with pytest.raises(SetupError, match=r"/database is on a nfs4 file system .* Put persist_db_path on a local disk"):
        Daemon(load_settings(settings_of(flags_of(home, "database")), {})).open()
