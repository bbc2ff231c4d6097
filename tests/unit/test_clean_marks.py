"""When a stop is marked clean, and what the next start does without that mark. Real daemons in this process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfastd import daemon as daemons
from holdfastd import durable
from holdfastd.daemon import Daemon
from holdfastd.jobs.sweep import RecoveryJob
from holdfastd.locks import DataDirLock
from holdfastd.migration import migrate_store
from holdfastd.model.call import Call
from holdfastd.model.jobs import JobRun
from holdfastd.rpc.listener import Listener
from holdfastd.settings import Settings, load_settings

ORPHANS = 601


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        yield load_settings({"data_dir": f"{directory}/data", "socket": f"{directory}/s.sock", "grace_s": 2.0}, {})


def opened(settings: Settings) -> Daemon:
    daemon = Daemon(settings)
    daemon.open()
    return daemon


def card(settings: Settings) -> dict[str, object]:
    content: dict[str, object] = json.loads((settings.data_dir / "daemon.json").read_text())
    return content


def orphans_in(settings: Settings) -> list[Path]:
    return sorted(settings.blobs_dir.glob("??/*"))


def leave_orphans(settings: Settings) -> None:
    """Files as a daemon leaves them that is killed between the rename and the commit of many Puts."""
    opened(settings).close()
    (settings.data_dir / "daemon.json").write_text('{"pid": 1}')
    for number in range(ORPHANS):
        path = settings.blobs_dir / f"{number % 256:02x}" / f"{number % 256:02x}{number:062x}-0123456789abcdef"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)


def run_recover(daemon: Daemon) -> dict[str, int]:
    return dict(daemon.scheduler.run("recover", Call()))


def test_orphans_outlive_starts_that_are_stopped_early_but_not_the_first_that_goes_on(settings: Settings) -> None:
    leave_orphans(settings)
    for _ in range(3):
        daemon = opened(settings)
        call = Call()
        call.end()  # the stop ends the job before it has done anything
        with pytest.raises(Exception, match="gone"):
            daemon.scheduler.run("recover", call)
        daemon.close()
        assert "clean" not in card(settings)
        assert len(orphans_in(settings)) == ORPHANS
    daemon = opened(settings)
    assert run_recover(daemon)["orphan_files"] == ORPHANS
    daemon.close()
    assert orphans_in(settings) == []
    # In the first sector, so that a torn write cannot combine it with another card.
    assert (settings.data_dir / "daemon.json").read_bytes().startswith(b'{"clean": true')


def test_a_recovery_that_is_stopped_half_way_leaves_the_stop_unclean(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_orphans(settings)
    daemon = opened(settings)
    call, submitted = Call(), []
    submit = daemon._parts.writer.submit

    def end_after_ten(command: object, of: Call) -> object:
        submitted.append(command)
        if len(submitted) == 10:
            call.end()
        return submit(command, of)

    monkeypatch.setattr(daemon._parts.writer, "submit", end_after_ten)
    with pytest.raises(Exception, match="gone"):
        daemon.scheduler.run("recover", call)
    assert len(submitted) == 10
    daemon.close()
    assert "clean" not in card(settings)


def test_a_recovery_that_was_only_previewed_is_still_due(settings: Settings) -> None:
    leave_orphans(settings)
    daemon = opened(settings)
    sweep = daemon._parts.blob_sweep
    assert RecoveryJob(sweep).run(JobRun(Call(), True))["orphan_files"] == ORPHANS
    assert sweep.needs_recovery
    daemon.close()


def test_a_stop_beside_an_upload_that_has_not_ended_is_unclean(settings: Settings) -> None:
    daemon = opened(settings)
    daemon._parts.blobs._files.create().write(b"half of it")
    daemon.close()
    assert "clean" not in card(settings)
    assert len(list((settings.blobs_dir / "tmp").iterdir())) == 1
    daemon = opened(settings)
    assert run_recover(daemon)["temp_files_deleted"] == 1
    daemon.close()
    assert card(settings)["clean"] is True


def test_the_unlinks_are_synced_before_the_mark(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = opened(settings)
    files = daemon._parts.blobs._files
    for first in ("ab", "cd"):
        draft = files.create()
        draft.rename(f"sha256:{first * 32}", "raw")
        draft.remove()
    steps: list[str] = []
    real = files._sync_directory
    write = DataDirLock.write

    def noted_sync(relative: str) -> None:
        steps.append(relative)
        real(relative)

    def noted_write(lock: DataDirLock, content: dict[str, object]) -> None:
        steps.append("clean" if "clean" in content else "card")
        write(lock, content)

    monkeypatch.setattr(files, "_sync_directory", noted_sync)
    monkeypatch.setattr(DataDirLock, "write", noted_write)
    daemon.close()
    assert sorted(steps[:-1]) == ["blobs/ab", "blobs/cd", "blobs/tmp"]
    assert steps[-1] == "clean"


def test_the_mark_of_the_last_stop_is_gone_before_the_first_call(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(settings).close()
    bound: list[dict[str, object]] = []
    bind = Listener.bind

    def noted(listener: Listener) -> None:
        bound.append(card(settings))
        bind(listener)

    monkeypatch.setattr(Listener, "bind", noted)
    opened(settings).close()
    assert "clean" not in bound[0]
    assert bound[0]["socket"] == str(settings.socket)


@pytest.mark.parametrize("left", [None, b"", b'{"clean": true', bytes(4096)])
def test_without_a_whole_mark_a_start_on_an_existing_store_recovers(
    settings: Settings, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    opened(settings).close()
    assert "last_stop_was_unclean" not in caplog.text  # neither for a new store
    path = settings.data_dir / "daemon.json"
    path.unlink() if left is None else path.write_bytes(left)
    daemon = opened(settings)
    assert daemon._parts.blob_sweep.needs_recovery
    assert "last_stop_was_unclean" in caplog.text
    daemon.close()


def test_a_store_that_was_only_migrated_has_nothing_to_recover(settings: Settings) -> None:
    migrate_store(settings)
    daemon = opened(settings)
    assert not daemon._parts.blob_sweep.needs_recovery
    daemon.close()


def test_a_failed_sync_of_the_unlinks_ends_the_process_unmarked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    daemon = Daemon(settings, end_process=codes.append)
    daemon.open()
    draft = daemon._parts.blobs._files.create()
    draft.rename("sha256:" + "ab" * 32, "raw")
    draft.remove()

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "sync", fail)
    with pytest.raises(Exception, match="fsync failed"):
        daemon.close()
    monkeypatch.undo()
    assert codes == [daemons.EXIT_SYNC_FAILED]
    assert "clean" not in card(settings)
