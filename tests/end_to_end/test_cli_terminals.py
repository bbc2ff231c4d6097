"""Terminals get colours unless NO_COLOR is set, and no stored text can control the terminal. A pipe gets plain text."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import holdfast
from holdfast.cli import main
from tests.end_to_end.command_line import Run
from tests.foreign.tools import give_up

pytestmark = pytest.mark.slow  # processes of their own

EVIL = "[red]x[/red]\x1b[2J\x9b5m\x07\u202e[/] :smile: end"
EVIL_ID = "[red]x[/red][/]:smile:end"  # ids may not have blanks or control characters
HARMLESS = "[red]x[/red]\\x1b[2J\\x9b5m\\x07\\u202e[/] :smile: end"
STYLE = re.compile(r"\x1b\[[0-9;]*m")
STEERING = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]")
COMMAND = [sys.executable, "-m", "holdfast"]
OF_TERMINAL = {"TERM": "xterm-256color", "COLUMNS": "200"}
Asked = tuple[str, ...]


@pytest.fixture
def address(daemon: Any, store: holdfast.Store) -> Asked:
    """A workspace in which every text contains control sequences and markup."""
    session = store.sessions.create(title=EVIL, id="ses")
    task = store.tasks.create(title=EVIL, id=EVIL_ID, description=f"one\n{EVIL}", metadata={EVIL: EVIL})
    store.tasks.update(task.id, description=f"two\n{EVIL}", tags=[EVIL], status="running")
    store.tasks.create(title="below", id="below", blocked_by=[EVIL_ID])
    store.transcripts.append(session.id, role=EVIL, content=EVIL)
    return "--socket", str(daemon.socket_path), "--workspace", store.workspace


def on_terminal(*arguments: str, **variables: str) -> str:
    """The output of a command on a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    environment = _plain() | OF_TERMINAL | variables
    with subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = _read_all(ours)
        process.wait(15)
    return shown.decode()


def shown_on_terminal(*arguments: str) -> str:
    """As `on_terminal`; the command runs in this process with a terminal as its output, which takes a fifth of the time."""
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as pool, mock.patch.dict(os.environ, _plain() | OF_TERMINAL, clear=True):
        reading = pool.submit(_read_all, ours)
        with open(theirs, "w", encoding="utf-8") as terminal, redirect_stdout(terminal), redirect_stderr(terminal):
            main(arguments)
    return reading.result().decode()


def _plain() -> dict[str, str]:
    """The environment without what a person may have set for terminals."""
    return {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LINES")}


def _read_all(terminal: int) -> bytes:
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    os.close(terminal)
    return shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


SHOWING: list[Asked] = [
    ("list", "tasks"),
    ("show", "task", EVIL_ID),
    ("log", "task", EVIL_ID),
    ("graph",),
    ("tail", "ses"),
    ("watch", "--since", "0", "--replay"),
]
LINES: list[Asked] = [
    *SHOWING,
    *((*each, "--json") for each in SHOWING),
    ("set", "task", EVIL_ID, "priority=1"),
    ("create", "task", f"title={EVIL}", f"id=new{EVIL_ID}"),
    ("delete", "task", EVIL_ID, "--cascade"),
    ("show", "task", f"none{EVIL_ID}"),
    ("show", "task", f"none{EVIL_ID}", "--json"),
    ("create", "task", f"id={EVIL}", "title=t"),
    ("list", EVIL),
    (EVIL,),
    (f"--{EVIL}",),
    ("create", "task", f"{EVIL}=x"),
    ("create", "task", f"title=@/nonexistent/{EVIL}"),
    ("cat", "--all", "ses", f"/nonexistent/{EVIL}"),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line)[:20].encode("ascii", "replace").decode())
def test_nothing_steers_the_terminal_and_markup_is_text(address: Asked, line: Asked) -> None:
    shown = STYLE.sub("", shown_on_terminal(*address, *line))
    assert not STEERING.search(shown)
    assert "end" in shown
    assert "[red]x[/red]" in shown
    assert ":smile:" in shown
    if line in SHOWING:
        assert HARMLESS in shown


def test_cat_shows_text_that_would_steer_a_terminal_only_by_force(address: Asked, store: holdfast.Store) -> None:
    for steering in ("\x9b5m", "\x1b[2J", "\x07", "\x08", "\u202e", "one\rtwo", "x" * ((1 << 20) - 6) + "\x9b5m"):
        digest = store.blobs.put(f"text {steering}".encode()).digest
        assert "--force" in on_terminal(*address, "cat", digest)
    digest = store.blobs.put("tabs\tand\r\nlines ü\f".encode()).digest
    assert "lines ü" in on_terminal(*address, "cat", digest)


@pytest.mark.parametrize("line", ["log below", "graph", "list tasks", "tail ses"])
def test_only_terminals_get_colours_and_not_with_no_color(address: Asked, line: str) -> None:
    asked = [*address, *line.split()]
    assert STYLE.search(on_terminal(*asked))
    assert not STYLE.search(on_terminal(*asked, NO_COLOR="1"))
    assert not STYLE.search(on_terminal(*asked, TERM="dumb"))
    for variables in ({}, {"FORCE_COLOR": "1", "COLUMNS": "100"}):
        piped = subprocess.run([*COMMAND, *asked], env=os.environ | variables, capture_output=True, text=True, check=True).stdout
        assert not STEERING.search(piped)


@pytest.mark.parametrize("line", SHOWING, ids=lambda line: " ".join(line)[:20].encode("ascii", "replace").decode())
def test_json_for_programs_holds_nothing_that_steers_a_terminal(run: Run, address: Asked, line: Asked) -> None:
    """It is often shown later, by `less` or by a log viewer. The decoded text is unchanged."""
    shown = run(*line, "--json").out
    assert not STEERING.search(shown)
    assert EVIL in "".join(_texts(json.loads(each)) for each in shown.splitlines())


def _texts(value: Any) -> str:
    if isinstance(value, dict | list):
        return "".join(map(_texts, value.values() if isinstance(value, dict) else value))
    return str(value)


def test_a_log_is_coloured_as_a_diff(address: Asked) -> None:
    shown = on_terminal(*address, "log", "task", EVIL_ID)
    assert "\x1b[32m    +two" in shown
    assert "\x1b[31m    -one" in shown
    assert "\x1b[32m+ tags" in shown


def test_verify_leaves_no_trace_of_its_progress(address: Asked) -> None:
    shown = on_terminal(*address, "verify")
    assert "\x1b[2K" in shown or "\x1b[?25l" in shown
    assert "no problems found" in shown
    assert subprocess.run([*COMMAND, *address, "verify"], capture_output=True, check=True).stderr == b""
    assert on_terminal(*address, "verify", TERM="dumb").startswith("no problems found")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_the_command_line_says_what_to_install(address: Asked, missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from holdfast.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", program, *address, "graph"], capture_output=True, text=True, check=False)
    said = "holdfast: the command line needs its extra: pip install 'holdfast[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """A PATH whose first directory has a command `holdfast`."""
    (tmp_path / "holdfast").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (tmp_path / "holdfast").chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def completion_script(shell: str) -> str:
    return subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [("show tasks be", "below"), ("set task below sta", "status="), ("set task below status=ru", "status=running")],
)
def test_fish_completes(address: Asked, shell_path: str, words: str, offered: str) -> None:
    if (fish := shutil.which("fish")) is None:
        give_up("fish is not here")
    asked = f'{completion_script("fish")}\ncomplete -C "holdfast {" ".join(address)} {words}"'
    done = subprocess.run(
        [fish, "-N", "-c", asked], env=os.environ | {"PATH": shell_path}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("show tasks be", "-U -V unsorted -a completions: below"), ("set task below sta", "-U -S  -- status=: ")],
)
def test_zsh_completes(address: Asked, shell_path: str, words: str, offered: str) -> None:
    """Runs the completion function with the variables of zsh's line editor, and with a `compadd` that prints its arguments."""
    if (zsh := shutil.which("zsh")) is None:
        give_up("zsh is not here")
    given = ["holdfast", *address, *words.split()]
    asked = f"""\
compdef() {{ :; }}
{completion_script("zsh")}
compadd() {{ print -r -- "$@: $completions" }}
words=({" ".join(given)}); CURRENT={len(given)}; _holdfast_completion"""
    done = subprocess.run(
        [zsh, "-f", "-c", asked], env=os.environ | {"PATH": shell_path}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")
