"""The daemon as a process: its locks, socket and settings, with real daemons and real kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import grpc
import pytest

from holdfastd import MAX_API_VERSION, MIN_API_VERSION
from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations
from tests.end_to_end.daemons import (
    COMMAND,
    PATIENCE_S,
    DaemonProcess,
    Directory,
    eventually,
    is_reachable,
    is_serving,
    mode_of,
    new_directory,
    run,
)

pytestmark = pytest.mark.slow  # processes of its own


@pytest.fixture
def by_command() -> Iterator[Directory]:
    """Its daemons are started by the command, as by users; those of `directory` are forked."""
    with new_directory(COMMAND) as made:
        yield made


def test_the_daemons_files_are_private_and_name_it(by_command: Directory) -> None:
    daemon = by_command.serve()
    assert is_reachable(daemon.socket)
    assert [mode_of(each) for each in (daemon.socket.parent, daemon.data_dir)] == [0o700, 0o700]
    assert [mode_of(each) for each in (daemon.socket, daemon.data_dir / "holdfast.db")] == [0o600, 0o600]
    card = daemon.card()
    assert (card["pid"], card["socket"]) == (daemon.process.pid, str(daemon.socket))
    assert (card["min_api_version"], card["max_api_version"]) == (MIN_API_VERSION, MAX_API_VERSION)
    assert {each.name for each in daemon.socket.parent.iterdir()} == {"s.sock", "s.sock.lock"}


def test_two_daemons_on_one_directory(by_command: Directory) -> None:
    first = by_command.serve()
    said = by_command.refused("store", "run/other.sock")
    assert f"Another daemon (pid {first.process.pid}, socket {first.socket}) owns {first.data_dir}" in said
    assert is_reachable(first.socket)


def test_two_daemons_on_one_socket(by_command: Directory) -> None:
    first = by_command.serve("one")
    said = by_command.refused("two")
    assert f"Another daemon (pid {first.process.pid}, data directory {first.data_dir}) listens on {first.socket}" in said
    assert is_reachable(first.socket)


def test_one_stops_while_the_other_runs(directory: Directory) -> None:
    first, second = directory.serve("one", "run/1.sock"), directory.serve("two", "run/2.sock")
    assert first.end() == 0
    assert is_reachable(second.socket)
    third = directory.serve("three", "run/1.sock")
    assert second.end() == 0
    assert is_reachable(third.socket)


def test_the_next_daemon_keeps_its_socket_when_the_first_ends(directory: Directory) -> None:
    """grpcio unlinks its socket's path when it stops; it must not unlink the socket of the next daemon."""
    first = directory.serve("one")
    first.process.send_signal(signal.SIGTERM)
    while (second := directory.start("two")).ended_or_serves() == "ended":
        assert "LOCK_HELD" in second.log()
    first.process.wait(PATIENCE_S)
    assert is_reachable(second.socket)


def test_taking_over_a_killed_daemons_socket_is_as_fast_as_a_new_start(directory: Directory) -> None:
    fresh_s, stale_s = [], []
    for number in range(3):
        began = time.monotonic()
        first = directory.serve(f"store{number}", f"run/{number}.sock")
        fresh_s.append(time.monotonic() - began)
        first.end(signal.SIGKILL)
        assert first.socket.exists()
        began = time.monotonic()
        second = directory.serve(f"store{number}", f"run/{number}.sock")
        stale_s.append(time.monotonic() - began)
        assert is_reachable(second.socket)
        assert "event=last_stop_was_unclean" in second.log()
        second.end()
    assert min(stale_s) < min(fresh_s) + 0.3  # the shortest of three, because the machine may be busy


def test_a_socket_directory_deleted_under_a_live_daemon_comes_back(directory: Directory) -> None:
    daemon = directory.serve()
    with grpc.insecure_channel(f"unix:{daemon.socket}") as before:
        assert is_serving(before)
        for _ in range(2):
            shutil.rmtree(daemon.socket.parent)
            assert eventually(lambda: is_reachable(daemon.socket)), daemon.log()
            assert [mode_of(daemon.socket.parent), mode_of(daemon.socket)] == [0o700, 0o600]
        assert is_serving(before)
    assert "Another daemon" in directory.refused("two")
    assert daemon.end() == 0
    assert not daemon.socket.exists()


def test_only_one_of_two_daemons_gets_a_lost_lock(directory: Directory) -> None:
    first = directory.serve("one")
    shutil.rmtree(first.socket.parent)
    second = directory.start("two")
    # Either daemon may get the lock: the second ends if the first restores it, and otherwise the first logs the loss.
    assert eventually(lambda: second.process.poll() is not None or "event=socket_lost" in first.log()), first.log()
    second_serves = second.process.poll() is None
    assert eventually(lambda: is_reachable(first.socket))
    assert first.process.poll() is None
    assert first.end() == 0
    assert is_reachable(second.socket) is second_serves


def test_a_deleted_daemon_json_is_restored_and_lets_no_second_daemon_in(directory: Directory) -> None:
    daemon = directory.serve()
    card = daemon.card()
    (daemon.data_dir / "daemon.json").unlink()
    assert "owns" in directory.refused("store", "run/other.sock")
    restored = daemon.data_dir / "daemon.json"
    assert eventually(lambda: restored.exists() and restored.read_text() != "")  # the file is created before it is written
    assert daemon.card() == card


def test_a_store_in_memory_leaves_nothing(directory: Directory) -> None:
    scratch = directory.path / "scratch"
    scratch.mkdir()
    daemon = directory.serve("unused", "run/s.sock", PERSISTENCE="memory", TMPDIR=str(scratch))
    assert is_reachable(daemon.socket)
    assert len(list(scratch.iterdir())) == 1
    assert daemon.end() == 0
    assert list(scratch.iterdir()) == []
    assert not daemon.data_dir.exists()


def test_persist_db_path_names_the_database(directory: Directory) -> None:
    database, path = directory.path / "my.db", directory.path / "run" / "s.sock"
    process = subprocess.Popen(
        [*COMMAND, "--socket", str(path)],
        env=os.environ | {"PERSIST_DB_PATH": str(database)},
        stderr=subprocess.DEVNULL,
        text=True,
    )
    directory.daemons.append(DaemonProcess(process, directory.path / "my.db.d", path, directory.path / "none.log"))
    assert eventually(lambda: is_reachable(path))
    assert directory.daemons[0].card()["pid"] == process.pid
    assert database.exists()
    assert not (directory.path / "my.db.d" / "holdfast.db").exists()


def test_what_is_in_the_log_is_one_line_an_event(by_command: Directory) -> None:
    daemon = by_command.serve()
    daemon.end()
    lines = daemon.log().splitlines()
    assert all(line.startswith("time=") and " level=" in line and " event=" in line for line in lines)
    assert [line.split(" event=")[1].split(" ")[0] for line in lines][-1] == "stopped"


def test_a_socket_path_that_is_too_long_is_refused_clearly(directory: Directory) -> None:
    said = directory.refused("store", "x" * 100 + "/s.sock")
    assert "Unix sockets allow 103 here" in said
    assert not (directory.path / ("x" * 100)).exists()


def test_a_socket_directory_open_to_others_is_refused(directory: Directory) -> None:
    (directory.path / "run").mkdir()
    (directory.path / "run").chmod(0o777)
    assert "Others can write to the directory" in directory.refused()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_socket_directory_of_somebody_else_is_refused(directory: Directory) -> None:
    (directory.path / "run").mkdir()
    os.chown(directory.path / "run", 12345, -1)
    assert "belongs to user 12345" in directory.refused()


def test_a_wrong_setting_is_refused_with_its_key(directory: Directory) -> None:
    wrong = directory.start("store", "run/s.sock", "--readers", "x")
    assert wrong.process.wait(30) == 2, "a wrong flag is wrong usage"
    assert "--readers is 'x'" in wrong.log()
    assert "HOLDFAST_GRACE_S is 'x'" in directory.refused(HOLDFAST_GRACE_S="x")
    config = directory.path / "holdfast.toml"
    config.write_text("gracee_s = 3")
    assert "Did you mean 'grace_s'" in directory.refused("store", "run/s.sock", "--config", str(config))


def test_a_newer_store_is_refused_and_left_as_it_was(directory: Directory) -> None:
    directory.serve().end()
    connection = Database(directory.path / "store" / "holdfast.db").open_writer()
    connection.execute("INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (999, 'future', '', 0)")
    connection.close()
    assert "0999_future, which this holdfastd does not know" in directory.refused()
    assert json.loads((directory.path / "store" / "daemon.json").read_text())["clean"] is True


def test_a_store_whose_schema_lacks_a_column_is_refused_and_nothing_is_served(directory: Directory) -> None:
    directory.serve().end()
    connection = Database(directory.path / "store" / "holdfast.db").open_writer()
    connection.execute("ALTER TABLE task RENAME COLUMN title TO other")
    connection.close()
    assert "column title of table task (kind task, field title)" in directory.refused()
    assert not (directory.path / "run" / "s.sock").exists()


def test_migrate_lists_and_applies_the_migrations(directory: Directory) -> None:
    data = ["--data-dir", str(directory.path / "store")]
    dry = run("migrate", "--dry-run", *data)
    steps = find_migrations()
    assert (dry.returncode, dry.stdout) == (0, "".join(f"would apply {each}\n" for each in steps))
    assert not (directory.path / "store").exists()
    done = run("migrate", *data)
    assert (done.returncode, done.stdout) == (0, "".join(f"applied {each}\n" for each in steps))
    assert run("migrate", *data).stdout == "nothing to do: the store has the newest schema\n"
    directory.serve()
    assert run("migrate", "--dry-run", *data).stdout.startswith("nothing to do")
    held = run("migrate", *data)
    assert held.returncode == 1
    assert "Another daemon" in held.stderr


def test_the_command_has_help() -> None:
    said = run("--help")
    assert said.returncode == 0
    assert "holdfastd migrate --dry-run" in said.stdout
    assert run("--version").stdout.startswith("holdfastd 0.")
    assert run("--dry-run").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reders", "3"], "there is no flag --reders. Did you mean '--readers'?"),
        (["--reders=3"], "there is no flag --reders. Did you mean '--readers'?"),
        (["migrate", "--dryrun"], "there is no flag --dryrun. Did you mean '--dry-run'?"),
        (["--data", "/x"], "there is no flag --data."),
        (["-r", "3"], "there is no flag -r."),
    ],
)
def test_an_unknown_flag_is_named(words: list[str], said: str) -> None:
    refused = run(*words)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_negative_number_is_no_flag() -> None:
    assert "--readers is '-1'" in run("--readers", "-1").stderr
