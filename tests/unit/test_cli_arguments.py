"""Arguments of the command line: positions of options, refused arguments, completion."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from holdfast.cli import main
from holdfast.cli.contents import cat
from holdfast.cli.entry import COMMANDS, cli
from holdfast.cli.fields import KINDS_WITH_CONTENT, chosen_fields, default_fields
from holdfast.cli.kind_names import kind_named, watched_name
from holdfast.cli.options import DEFAULT_TIMEOUT_S, Options
from holdfast.cli.shells import VARIABLE
from holdfast.contract.kinds import KINDS, FieldType
from holdfast.contract.kinds import KINDS as SERVED
from holdfast.errors import InvalidArgument
from holdfast.store import DEFAULT_TIMEOUT_S as CLIENT_TIMEOUT_S
from tests.end_to_end.command_line import candidates

TASK_STATUSES = KINDS["task"].by_name["status"].values
Captured = pytest.CaptureFixture[str]
NOBODY = "/nonexistent/holdfast.sock"


def names(prefix: str, *others: str) -> list[str]:
    """The kinds whose names begin so, spelled with hyphens if the prefix has one, and other names."""
    spelled = [each.replace("_", "-") if "-" in prefix else each for each in KINDS]
    return sorted([*(each for each in spelled if each.startswith(prefix)), *others])


def options_of(line: str) -> Options:
    """The global options that a command line gives to its command."""
    with cli.make_context("holdfast", line.split(), obj=Options()) as group:
        _, command, rest = cli.resolve_command(group, [*group._protected_args, *group.args])
        assert command is not None
        with command.make_context("command", rest, parent=group) as context:
            options: Options = context.obj
            return options


@pytest.mark.parametrize(
    "line",
    [
        "--socket s --json --workspace w --timeout 5 list tasks",
        "list tasks --socket s --json --workspace w --timeout 5",
        "--socket s --workspace other list --json tasks --workspace w --timeout 5",
    ],
)
def test_global_options_stand_before_or_after_the_command(line: str) -> None:
    assert options_of(line) == Options("s", "w", True, 5.0)


def test_the_defaults_are_the_clients() -> None:
    assert options_of("status") == Options()
    assert DEFAULT_TIMEOUT_S == CLIENT_TIMEOUT_S


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_with_examples(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:\n  " in shown
    assert f"holdfast {command}" in shown.partition("examples:")[2]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("completion", "Usage: holdfast completion [OPTIONS] {bash,zsh,fish} Prints the completion script of a shell."),
        ("log", "Shows the history of a record as a diff, newest first; also of a deleted record."),
        (
            "list",
            "Lists the records of a kind, as a table or as JSON lines. For a program, tabs separate the cells of the table.",
        ),
        ("tail", "Shows the end of a transcript, or of another journal"),
        ("watch", "Shows changes as they happen"),
        ("cat", "Writes a blob, a checkpoint's context, or the content of an artifact or an execution log to stdout"),
        ("status", "Shows the state of the daemon and the size of the store. Exits with 3 if no daemon runs."),
    ],
)
def test_help_says_what_a_command_is_about(command: str, said: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit):
        main(["help", command])
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lst", "did you mean list?"),
        ("frobnicate", "they are up, down"),
        ("list", "KIND"),
        ("list taks", "Did you mean tasks?"),
        ("list transcripts", "holdfast tail"),
        ("list tasks --limit -1", "0 or more"),
        ("list tasks --page-size 1001", "1,000 or less"),
        ("list tasks --columns id,titel", "Did you mean title?"),
        ("list tasks --columns title.x", "There is no field"),
        ("list task-states --columns phases.nothing", "There is no field"),
        ("create tsk title=x", "Did you mean tasks?"),
        ("create task titel=x", "Did you mean title?"),
        ("create task title=x --lim 3", "--lim"),
        ("show task TASK-001 TASK-002", "unrecognized argument TASK-002. See `holdfast show --help`"),
        ("list tasks --frobnicate", "unrecognized argument --frobnicate. See `holdfast list --help`"),
        ("show TASK-001", "`holdfast show task TASK-001`"),
        ("set ses_1 title=x", "`holdfast set session ses_1`"),
        ("delete dsn_1", "`holdfast delete design_note dsn_1`"),
        ("list BUG-007", "`holdfast show bug BUG-007`"),
        ("help lst", "did you mean list?"),
        ("create task title=@/nonexistent/file", "title: /nonexistent/file: No such file"),
        ("create task title=@/", "title: /: Is a directory"),
        ("create artifact content_digest=@/nonexistent/file", "content_digest: /nonexistent/file: No such file"),
        ("create artifact content_digest=@/", "content_digest: /: this is a directory"),
        ("create task --json-file /nonexistent/file", "--json-file /nonexistent/file: No such file"),
        ("list tasks --limit 3 more", "unrecognized argument more."),
        ("list tasks one more", "unrecognized arguments: one more."),
        ("create task --title x", "unrecognized argument --title (write title=x). See `holdfast create --help`"),
        ("create task --title=x", "--title (write title=x)"),
        ("set task TASK-001 --blocked-by", "--blocked-by (write blocked_by=VALUE)"),
        ("create task --create-time x", "unrecognized argument --create-time."),
        ("create nothing --title x", "unrecognized argument --title"),
        ("show task --title x", "unrecognized argument --title"),
        ("completion", "missing argument '{bash,zsh,fish}'. Choose from: bash, zsh, fish. See `holdfast completion --help`"),
        ("list", "holdfast: missing argument 'KIND'."),
        ("list tasks --limit", "holdfast: option '--limit' requires an argument. See `holdfast list --help`."),
        ("list tasks --limit x", "holdfast: invalid value for '--limit':"),
        ("set task TASK-001", "Say what to set"),
        ("set task TASK-001 status=x --version 0", "1 or more"),
        ("graph plans", "There is no graph of plans"),
        ("list tasks --timeout 0", "more than 0"),
        ("list tasks --lim 3", "--lim (did you mean --limit?)"),
        ("status --socket tcp://host", "unix:PATH"),
        ("show task", "ID"),
        ("cat --all ses_1", "--all and DIR go together"),
        ("cat ses_1 dir", "--all and DIR go together"),
        ("tail s --parent-kind nobody", "There is no kind"),
        ("watch --since soon", "whole number"),
        ("completion tcsh", "is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(line: str, said: str, capsys: Captured) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("holdfast: ")
    assert err.count("\n") == 1
    assert said in err


def test_without_a_command_there_is_help_and_exit_code_2(capsys: Captured) -> None:
    assert main([]) == 2
    assert "exit codes:" in capsys.readouterr().err


def test_an_empty_session_is_refused_by_name(capsys: Captured) -> None:
    assert main(["tail", ""]) == 2
    assert "SESSION is empty" in capsys.readouterr().err


def test_an_address_in_the_environment_is_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SOCKET", "tcp://x")
    assert main(["status"]) == 2
    assert "'tcp://x' in HOLDFAST_SOCKET is not an address" in capsys.readouterr().err


def test_help_is_the_same_as_the_option(capsys: Captured) -> None:
    def shown(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert shown("help") == shown("--help")
    assert "141 the reader" in shown("help")
    for command in COMMANDS:
        assert shown("help", command) == shown(command, "--help")


def test_every_kind_of_content_is_in_the_help_of_cat() -> None:
    for kind in KINDS_WITH_CONTENT:
        assert kind.name.replace("_", " ") in str(cat.params[0].help)


@pytest.mark.parametrize("kind", list(KINDS))
def test_completion_offers_the_orders_that_the_daemon_takes(kind: str) -> None:
    offered = candidates(["list", kind, "--order-by", ""])
    assert offered == sorted(each.name for each in SERVED[kind].columns if each.type is not FieldType.JSON)
    assert candidates(["list", kind, "--order-by", "version,crea"]) == ["version,create_time"]


def test_text_that_is_no_utf8_is_refused(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["list", "tasks", "--columns", "\udcff"]) == 2
    assert capsys.readouterr().err.startswith("holdfast: ")


def test_kinds_by_singular_plural_and_whatever_case() -> None:
    for kind in KINDS.values():
        assert {kind_named(name).name for name in (kind.name, kind.noun, kind.name.upper(), kind.noun.replace("_", "-"))} == {
            kind.name
        }
        assert watched_name(kind.noun) == kind.name
    assert watched_name("transcripts") == "transcript"
    with pytest.raises(InvalidArgument, match=r"Did you mean transcript\?"):
        watched_name("transkript")


def test_default_columns_come_from_the_contract() -> None:
    assert default_fields(KINDS["task"]) == ["id", "version", "title", "status", "update_time"]
    assert default_fields(KINDS["link"])[2:] == ["type", "from_kind", "from_id", "to_kind", "to_id", "update_time"]
    for kind in KINDS.values():
        assert set(default_fields(kind)) <= set(kind.by_name)
        assert len(set(default_fields(kind))) == len(default_fields(kind))
    assert chosen_fields(KINDS["task"], "ID, metadata.Branch.x") == ["id", "metadata.Branch.x"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sw", ["sweep"]),
        ("--json sta", ["status"]),
        ("--workspace list sta", ["status"]),
        ("list ta", names("ta")),
        ("list co", names("co")),
        ("list task-", names("task-")),
        ("show s", names("s")),
        ("watch --kind t", names("t", "transcript")),
        ("sweep --d", ["--dry-run"]),
        ("sweep --j", ["--json"]),
        ("sweep x y", []),
        ("completion ", ["bash", "fish", "zsh"]),
        ("create de", names("de")),
        ("create design-", names("design-")),
        ("create design-note su", ["superseded_by="]),
        ("create task title=x st", ["status="]),
        ("create task version", []),
        ("create task --act", ["--actor"]),
        ("set task T-1 status=c", ["status=classifying", "status=completed", "status=created"]),
        ("create gate-decision approved=", ["approved=false", "approved=true"]),
        ("create session start_time=", ["start_time=now"]),
        ("create link from_kind=ta", [f"from_kind={each}" for each in names("ta")]),
        (f"--socket {NOBODY} create bug task_id=", []),
        ("list tasks --columns id,bl", ["id,blocked_by"]),
        ("list tasks --order-by ti", ["title"]),
        ("list tasks --order-by ta", []),
        ("list tasks --order-by me", []),
        ("help sw", ["sweep"]),
        ("list --columns ti", []),
        ("graph t", ["task"]),
        ("log phase-", names("phase-")),
        ("tail --parent-kind ta", names("ta")),
        ("tail --filter ta", []),
        ("nonsense ta", []),
        (f"--socket {NOBODY} show task ", []),
        (f"show --socket={NOBODY} task ", []),
        (f"--socket {NOBODY} show nothing ", []),
    ],
)
def test_completion(line: str, offered: list[str]) -> None:
    assert candidates(line.split(" ")) == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("set task T-1 status = run", ["running"]),
        ("set task T-1 status =", sorted(TASK_STATUSES)),
        ("set task T-1 status", ["status="]),
        ("list tasks --order-by = ti", ["title"]),
        (f"--socket = {NOBODY} list co", names("co")),
    ],
)
def test_bash_takes_words_apart(line: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    words = ["holdfast", *line.split(" ")]
    for name, value in (("COMP_WORDS", "\n".join(words)), ("COMP_CWORD", str(len(words) - 1)), (VARIABLE, "bash_complete")):
        monkeypatch.setenv(name, value)
    assert main([]) == 0
    assert capsys.readouterr().out.split() == [f"plain,{each}" for each in offered]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("words", ["holdfast 'list", "", None])
@pytest.mark.parametrize("position", ["", "x", "9" * 5000, "9" * 18, "-3", None])
def test_completion_survives_variables_that_no_script_sets(
    shell: str, words: str | None, position: str | None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    for name, value in (("COMP_WORDS", words), ("COMP_CWORD", position)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    code = main([])
    out, err = capsys.readouterr()
    assert err == ""
    assert (code, out) == (2, "") if words is None or position is None else code in (0, 2)
    assert shell == "fish" or position not in ("", "x", "9" * 5000) or code == 2


def test_errors_are_json_wherever_the_option_stands(capsys: Captured) -> None:
    for line in (
        f"--json --socket {NOBODY} show task T",
        f"--socket {NOBODY} show task T --json",
        "--json lst",
        "--json show task --x",
    ):
        assert main(line.split()) in (2, 3)
        assert json.loads(capsys.readouterr().err)["message"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_command(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    assert f"_HOLDFAST_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_help_and_completion_do_not_load_grpc() -> None:
    program = (
        "import os, sys; from holdfast.cli import main\n"
        "for line in (['completion', 'bash'], ['lst'], ['list', 'nothing']): main(line)\n"
        "os.environ.update(_HOLDFAST_COMPLETE='bash_complete', COMP_WORDS='holdfast list t', COMP_CWORD='2'); main([])\n"
        "sys.exit('grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
