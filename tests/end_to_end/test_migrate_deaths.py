"""`holdfastd migrate` killed at each step: the next run continues, and the result is the same as without the kill."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from holdfastd.store.sqlite.database import Database
from holdfastd.store.sqlite.migrate import find_migrations, migrate, pending, store_id
from tests.end_to_end.daemons import COMMAND, PATIENCE_S, Directory
from tests.support.api import Api, insert

pytestmark = pytest.mark.slow  # processes of its own

STEPS = find_migrations()
HAD = 2  # number of migrations that the old store has


@pytest.fixture
def old_store(directory: Directory) -> Path:
    """A store with the first two migrations."""
    data_dir = directory.path / "store"
    data_dir.mkdir(mode=0o700)
    with closing(Database(data_dir / "holdfast.db").open_writer()) as connection:
        migrate(connection, data_dir / "snapshots", STEPS[:HAD])
        connection.execute("INSERT INTO workspace (name, create_time) VALUES ('kept', 7)")
    (data_dir / "daemon.json").write_text('{"clean": true}')
    return data_dir


def run_migrate(data_dir: Path, failpoints: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "migrate", "--data-dir", str(data_dir)]
    environment = os.environ | {"HOLDFAST_FAILPOINTS": failpoints}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize(
    ("failpoint", "applied"),
    [
        ("migrate.before_snapshot_sync", 0),
        ("migrate.after_snapshot", 0),
        ("migrate.before_commit", 0),
        ("migrate.before_commit@2", 1),
        ("migrate.after_commit", 1),
        ("migrate.after_commit@2", 2),
    ],
)
def test_a_migration_that_is_killed_goes_on_where_it_was(
    directory: Directory, old_store: Path, failpoint: str, applied: int
) -> None:
    name, _, at = failpoint.partition("@")
    killed = run_migrate(old_store, f"{name}=kill@{at or 1}")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "")
    with closing(Database(old_store / "holdfast.db").open_reader()) as connection:
        assert pending(connection, STEPS) == STEPS[HAD + applied :]
        first_id = store_id(connection)
    for snapshot in (old_store / "snapshots").glob("*.db"):
        with closing(Database(snapshot).open_reader()) as connection:
            assert pending(connection, STEPS) == STEPS[HAD:]
    done = run_migrate(old_store, "")
    assert (done.returncode, done.stdout) == (0, "".join(f"applied {each}\n" for each in STEPS[HAD + applied :]))
    assert list((old_store / "snapshots").glob("*.unfinished*")) == []
    daemon = directory.serve()
    assert "event=last_stop_was_unclean" not in daemon.log()
    with Api(daemon.socket, "") as api:
        api.commit(insert("task", title="t"))
        assert api.problems() == []
    assert daemon.end() == 0
    with closing(Database(old_store / "holdfast.db").open_reader()) as connection:
        assert store_id(connection) == first_id
        assert connection.execute("SELECT create_time FROM workspace WHERE name = 'kept'").fetchone() == (7,)
