"""Programs that use the client and start others with `subprocess`: what these inherit, and arguments that are safe in an outage.

HOLDFAST_CHILDREN sets how many children the outage test starts; thousands need `--timeout 0`.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import textwrap
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # processes of its own

CHILDREN = int(os.environ.get("HOLDFAST_CHILDREN", "300"))

# Starts children while six threads write and the daemon is away and comes back. Prints what ended otherwise than with 0.
OUTAGE = """
import collections, os, subprocess, sys, threading
import holdfast
path, children, options = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
over = threading.Event()
def write():
    with holdfast.connect(path, timeout_s=60, connect_timeout_s=60) as store:
        session_id = store.sessions.create(title="s").id
        while not over.is_set():
            store.transcripts.append(session_id, role="r", content="c")
threads = [threading.Thread(target=write) for _ in range(6)]
for thread in threads:
    thread.start()
print("writing", flush=True)
ended = collections.Counter(subprocess.run(["true"], **options).returncode for _ in range(children))
over.set()
print(dict(ended), flush=True)
for thread in threads:
    thread.join()
"""


def environment(**changes: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "GRPC_ENABLE_FORK_SUPPORT"} | changes


def run_script(text: str, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(command, timeout=60, capture_output=True, text=True, env=environment(**changes))


def test_other_programs_do_not_inherit_the_setting_that_the_client_needs(daemon: Any) -> None:
    script = """
    import os, subprocess, sys
    import holdfast
    before = dict(os.environ)
    with holdfast.connect(sys.argv[1]) as store:
        store.tasks.count()
        assert dict(os.environ) == before
        print(subprocess.run(["env"], capture_output=True, text=True, check=True).stdout)
        pid = os.fork()
        if pid == 0:
            store.tasks.count()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """
    done = run_script(script, daemon.socket_path)
    assert done.returncode == 0, done.stderr
    assert "GRPC_ENABLE_FORK_SUPPORT" not in done.stdout


def test_where_the_user_turns_fork_support_off_a_forked_child_is_refused_instead_of_hanging(daemon: Any) -> None:
    script = """
    import os, sys
    import holdfast
    store = holdfast.connect(sys.argv[1])
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "0"
    pid = os.fork()
    if pid == 0:
        try:
            store.tasks.count()
        except RuntimeError as error:
            os._exit(7 if "GRPC_ENABLE_FORK_SUPPORT=0" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """
    done = run_script(script, daemon.socket_path, GRPC_ENABLE_FORK_SUPPORT="0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ("dict(start_new_session=True)", {}),
        ("dict(preexec_fn=os.setsid, close_fds=False)", {}),
        ("dict(preexec_fn=os.setsid)", {"GRPC_ENABLE_FORK_SUPPORT": "0"}),
    ],
    ids=["start_new_session", "preexec_fn, close_fds=False", "preexec_fn, no fork support"],
)
def test_children_that_are_started_in_an_outage_do_not_abort(own_daemon: Any, options: str, changes: dict[str, str]) -> None:
    arguments = [str(own_daemon.socket_path), str(CHILDREN), options]
    command = [sys.executable, "-c", OUTAGE, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment(**changes)) as program:
        assert program.stdout is not None and program.stdout.readline() == "writing\n"
        while not (ended := _line_within(program, 0.4)):
            own_daemon.kill()
            own_daemon.start()
        assert ended == f"{{0: {CHILDREN}}}\n"
        assert program.wait(60) == 0


def _line_within(program: subprocess.Popen[str], seconds: float) -> str:
    """The next line of the output; empty when there is none in time."""
    assert program.stdout is not None
    return program.stdout.readline() if select.select([program.stdout], [], [], seconds)[0] else ""
