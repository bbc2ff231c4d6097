"""The daemon refuses to start when the schema lacks a table or column of the registry of kinds, and names what is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfastd.daemon import Daemon
from holdfastd.errors import SetupError
from holdfastd.settings import Settings, load_settings
from holdfastd.store import schema
from holdfastd.store.sqlite import migrate


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        yield load_settings({"data_dir": f"{directory}/data", "socket": f"{directory}/run/s.sock"}, {})


def ends_with(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Adds one migration with this change to the shipped ones."""
    steps = migrate.find_migrations()
    forgetful = migrate.Migration(len(steps) + 1, "forgetful", change)
    monkeypatch.setattr(migrate, "find_migrations", lambda: (*steps, forgetful))


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ("ALTER TABLE task RENAME COLUMN title TO other;", "column title of table task (kind task, field title)."),
        ("ALTER TABLE task RENAME COLUMN image TO other;", "column image of table task (kind task)."),
        ("DROP TABLE task_tags;", "table task_tags (kind task, field tags)."),
        ("ALTER TABLE task_tags RENAME COLUMN value TO other;", "column value of table task_tags (kind task, field tags)."),
        (
            "ALTER TABLE task_state_phases RENAME COLUMN retries TO other;",
            "column retries of table task_state_phases (kind task_state, field phases.retries).",
        ),
        ("ALTER TABLE pattern RENAME TO other;", "table pattern (kind pattern)."),
        ("DROP TABLE request;", "table request (of the store itself)."),
        (
            "ALTER TABLE transcript RENAME COLUMN content TO other;",
            "column content of table transcript (journal transcript, field content).",
        ),
    ],
)
def test_a_missing_table_or_column_is_named_and_the_daemon_does_not_start(
    settings: Settings, change: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(monkeypatch, change)
    daemon = Daemon(settings)
    with pytest.raises(SetupError) as caught:
        daemon.open()
    assert f"It lacks: {lacks} Write a migration" in caught.value.message
    assert not settings.socket.exists()
    assert '"clean"' not in Path(settings.data_dir / "daemon.json").read_text()


def test_a_long_list_of_what_is_missing_is_cut() -> None:
    with pytest.raises(SetupError, match=r"^[^,]*lacks: (table \w+ \([^)]*\), ){4}table \w+ \([^)]*\) and \d+ more\. Write"):
        schema.check_schema({})


def test_a_refused_store_opens_once_its_schema_is_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_with(monkeypatch, "ALTER TABLE task RENAME COLUMN title TO other;")
    with pytest.raises(SetupError):
        Daemon(settings).open()
    steps = migrate.find_migrations()
    mended = migrate.Migration(len(steps) + 1, "mended", "ALTER TABLE task RENAME COLUMN other TO title;")
    monkeypatch.setattr(migrate, "find_migrations", lambda: (*steps, mended))
    daemon = Daemon(settings)
    daemon.open()
    daemon.close()
