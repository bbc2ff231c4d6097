"""`holdfast.testing`: a store with a daemon of its own, which never outlives the test's process."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import psutil
import pytest

import holdfast
import holdfast.testing
from tests.end_to_end.daemons import eventually

pytestmark = pytest.mark.slow  # processes of its own


def is_gone(pid: int, socket_path: str) -> bool:
    return not psutil.pid_exists(pid) and not Path(socket_path).parent.exists()


def test_the_store_is_its_own_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOLDFAST_SOCKET", str(tmp_path / "of-the-user.sock"))
    monkeypatch.setenv("HOLDFAST_DATA_DIR", str(tmp_path / "of-the-user"))
    monkeypatch.setenv("HOLDFAST_LOG_LEVEL", "no-such-level")
    with holdfast.testing.store() as one, holdfast.testing.store(workspace="w", actor="ada") as two:
        one.tasks.create(title="t")
        assert two.tasks.create(title="t").id == "TASK-001" and (two.workspace, two.actor) == ("w", "ada")
        assert one.status().persistence == "memory" and one.status().store_id != two.status().store_id
        status = one.status()
    assert is_gone(status.pid, status.socket_path)
    with pytest.raises(holdfast.Closed):
        one.tasks.count()
    assert list(tmp_path.iterdir()) == []


def test_a_store_starts_within_a_second_of_processor_time() -> None:
    def used_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = used_s()
    with holdfast.testing.store():
        pass
    assert used_s() - before < 1.0


PROGRAM = """
    import os, sys, time
    import holdfast.testing
    with holdfast.testing.store() as store:
        store.tasks.create(title="t")
        child = os.fork() if "fork" in sys.argv else 1
        if child:
            print(store.status().pid, store.status().socket_path, child, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_no_daemon_is_left_behind_by_a_killed_process(how: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        program = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), how],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": directory},
        )
        assert program.stdout is not None
        pid, socket_path, child = program.stdout.readline().split()
        assert psutil.pid_exists(int(pid)) and socket_path.startswith(directory)
        program.kill()
        program.wait()
        try:
            assert eventually(lambda: is_gone(int(pid), socket_path)), "the daemon goes on"
            assert os.listdir(directory) == []
        finally:
            if how == "fork":
                os.kill(int(child), signal.SIGKILL)
            program.stdout.close()


def test_without_the_daemon_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        import importlib.util, sys
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if name in ("trio", "sqlcipher3") else found(name)
        import holdfast.testing
        with holdfast.testing.store() as store:
            pass
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "holdfast.testing needs the daemon" in done.stderr and "there is no sqlcipher3, trio" in done.stderr
    assert "pip install '.[daemon]'" in done.stderr


def test_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["holdfast.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
            def test_own(holdfast_store):
                assert holdfast_store.tasks.create(title="t").id == "TASK-001" and holdfast_store.revision == 1

            def test_shared(holdfast_workspace, holdfast_daemon):
                assert holdfast_workspace.tasks.create(title="t").id == "TASK-001" and holdfast_daemon.exists()

            def test_shared_again(holdfast_workspace):
                assert holdfast_workspace.tasks.create(title="t").id == "TASK-001"
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=tmp_path)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
