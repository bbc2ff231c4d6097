"""What the command line consists of: every command with its arguments and examples, as data.

The parser and the shell completion are both made from it, so they cannot disagree. Importing it costs next to nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from holdfast.cli.options import DEFAULT_TIMEOUT_S, DEFAULT_WORKSPACE

DEFAULT_LINES = 10


class Offer(Enum):
    """What completion offers for an argument."""

    NOTHING = "nothing"
    KINDS = "kinds"
    JOURNALS = "journals"
    WATCHED = "kinds and journals"
    IDS = "ids of the kind before"
    SESSIONS = "ids of sessions"
    CONTENTS = "ids of records with content"
    FIELDS = "FIELD=VALUE of the kind before"
    COLUMNS = "names of fields of the kind before, by commas"
    ORDER = "those of them that a list can be ordered by"
    GRAPHS = "kinds that have a graph"
    GRAPH_IDS = "ids that the graph before may be about"
    SHELLS = "shells"
    COMMANDS = "commands"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command; `settings` are argparse's. Without leading dashes it is a positional one."""

    flags: tuple[str, ...]
    help: str
    offer: Offer = Offer.NOTHING
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_option(self) -> bool:
        return self.flags[0].startswith("-")

    @property
    def repeats(self) -> bool:
        return self.settings.get("nargs") == "*"

    @property
    def takes_value(self) -> bool:
        return self.is_option and self.settings.get("action", "append") == "append"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `run` is `module:function` in this package, imported when the command runs."""

    name: str
    summary: str
    run: str
    arguments: tuple[Argument, ...]
    examples: str


def _option(*flags: str, help: str, offer: Offer = Offer.NOTHING, **settings: Any) -> Argument:
    return Argument(flags, help, offer, settings)


def _switch(*flags: str, help: str) -> Argument:
    return Argument(flags, help, settings={"action": "store_true"})


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not least <= number < 2**63:
        raise argparse.ArgumentTypeError(f"must be {least} or more, and less than 2^63")
    return number


def count(text: str) -> int:
    """A whole number from 0 on."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return _whole(text, 1)


def page_size(text: str) -> int:
    """A whole number from 1 to 1,000, which is the daemon's limit."""
    if (number := positive(text)) > 1000:
        raise argparse.ArgumentTypeError("must be 1,000 or less")
    return number


def seconds(text: str) -> float:
    """A length of time above 0."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < number <= 10**6:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 1,000,000")
    return number


GLOBAL_ARGUMENTS = (
    _option(
        "--socket",
        help="the daemon's socket; without it HOLDFAST_SOCKET, and else the per-user store, whose daemon is started when needed",
        metavar="PATH",
        default=None,
    ),
    _option("--workspace", help="the workspace (default: %(default)s)", metavar="NAME", default=DEFAULT_WORKSPACE),
    Argument(("--json",), "write JSON, one object a line, and errors as JSON too", settings={"action": "store_true"}),
    _option(
        "--timeout",
        help="how long to wait for the daemon, in seconds (default: %(default)g)",
        metavar="SECONDS",
        type=seconds,
        default=DEFAULT_TIMEOUT_S,
    ),
)

_KIND = _option("kind", help="the kind of record, such as tasks or session", offer=Offer.KINDS, metavar="KIND")
_ID = _option(
    "id",
    help="the record's id; may be left out for a kind of which there is one, such as constitution",
    offer=Offer.IDS,
    metavar="ID",
    nargs="?",
)
_FIELDS = _option(
    "fields",
    help="what to set, as FIELD=VALUE; see the end of `holdfast create --help`",
    offer=Offer.FIELDS,
    metavar="FIELD=VALUE",
    nargs="*",
)
_ACTOR = _option("--actor", help="who does it, for the history (default: your user name)", metavar="NAME", default=None)
_VERSION = _option(
    "--version", help="only if this is still the record's version; exits with 5 else", metavar="N", type=positive, default=0
)
_SESSION = _option("session", help="the session's id", offer=Offer.SESSIONS, metavar="SESSION")

COMMANDS = (
    Command(
        "up",
        "start the daemon of the per-user store",
        "daemon:up",
        (
            _option(
                "--idle-exit",
                help="end it so many seconds after its last call (default: never); one that runs already stays as it was started",
                metavar="SECONDS",
                type=count,
                default=0,
            ),
        ),
        "  holdfast up                    start it, or say that it runs already\n"
        "  HOLDFAST_DATA_DIR=./store holdfast up\n"
        "\n"
        "A daemon that another command or a program has started ends by itself 15 minutes after its last call, also when `up`\n"
        "finds it running. `holdfast down && holdfast up` gives one that stays.",
    ),
    Command(
        "down",
        "stop the daemon",
        "daemon:down",
        (),
        "  holdfast down                  finishes what was begun, and waits until it has ended\n"
        "  holdfast down --socket ./store.sock",
    ),
    Command(
        "status",
        "what runs, and how large the store is",
        "daemon:status",
        (),
        "  holdfast status                exits with 3 when no daemon runs; starts none\n  holdfast status --json | jq .revision",
    ),
    Command(
        "list",
        "list the records of a kind",
        "records:list_records",
        (
            _KIND,
            _option("--filter", help="which ones, as in the examples below", metavar="FILTER", default=""),
            _option(
                "--order-by",
                help="fields, such as `update_time desc` (default: create_time)",
                offer=Offer.ORDER,
                metavar="FIELDS",
                default="",
            ),
            _option("--limit", help="how many at most", metavar="N", type=count, default=None),
            _option("--page-size", help="how many to fetch at a time", metavar="N", type=page_size, default=0),
            _option(
                "--columns",
                help="which fields to show, such as id,title,metadata.branch",
                offer=Offer.COLUMNS,
                metavar="FIELDS",
                default="",
            ),
        ),
        '  holdfast list tasks --filter \'status = "running" AND tags:"urgent"\'\n'
        "  holdfast list sessions --order-by 'update_time desc' --limit 20\n"
        "  holdfast list checkpoints --filter 'session_id = \"ses_…\"' --columns id,number,context_size_bytes\n"
        "  holdfast list tasks --json | jq -r .title",
    ),
    Command(
        "show",
        "show one record with all its fields",
        "records:show_record",
        (_KIND, _ID),
        "  holdfast show task TASK-001\n  holdfast show session ses_… --json\n  holdfast show constitution",
    ),
    Command(
        "create",
        "add a record of any kind, and print its id",
        "writing:create",
        (
            _KIND,
            _FIELDS,
            _option(
                "--json-file",
                help="take fields from the JSON object in FILE (- is stdin), as `show --json` writes it; FIELD=VALUE wins",
                metavar="FILE",
                default=None,
            ),
            _ACTOR,
        ),
        "  holdfast create task title='Fix the login' tags=urgent tags=auth metadata='{\"branch\": \"fix/login\"}'\n"
        "  holdfast create comment task_id=TASK-001 type=review file_path=login.py line=42 body=@remark.md\n"
        "  holdfast create artifact task_id=TASK-001 type=diff content_digest=@login.diff\n"
        "  holdfast create link type=follows from_kind=task from_id=TASK-002 to_kind=session to_id=ses_…\n"
        "  holdfast show task TASK-001 --json | holdfast create task --json-file - --workspace other\n"
        "\n"
        "values:\n"
        "  FIELD=@FILE reads a file (@- stdin; @@ is a plain @), into a blob where the field is a digest; FIELD= clears\n"
        "  a list is the field several times: tags=a tags=b\n"
        '  fields of JSON take JSON, lists of messages a JSON object each: \'phases={"phase": "plan"}\'\n'
        "  times are like 2026-01-31T12:00:00Z, or now; booleans true or false",
    ),
    Command(
        "set",
        "change fields of a record, and print its new version",
        "writing:set_fields",
        (_KIND, _ID, _FIELDS, _VERSION, _ACTOR),
        "  holdfast set task TASK-001 status=running assignees=ann\n"
        "  holdfast set task TASK-001 status=completed --version 4       exits with 5 when somebody was faster\n"
        "  holdfast set session ses_… end_time=now tags=                 a list is replaced; an empty value clears\n"
        "  holdfast create constitution content=@rules.md                once; after that\n"
        "  holdfast set constitution content=@rules.md",
    ),
    Command(
        "delete",
        "remove a record",
        "writing:delete",
        (_KIND, _ID, _VERSION, _switch("--cascade", help="also delete what belongs to it, and unlink what refers to it"), _ACTOR),
        "  holdfast delete task TASK-001              exits with 5, and says what hangs on it, when something does\n"
        "  holdfast delete construct cst_… --cascade",
    ),
    Command(
        "log",
        "show the history of a record as a diff, newest first",
        "record_log:log",
        (
            _option("what", help="the record's kind, or the id alone", offer=Offer.KINDS, metavar="KIND"),
            _option("id", help="the record's id", offer=Offer.IDS, metavar="ID", nargs="?"),
            _option("-n", "--limit", help="how many changes at most", metavar="N", type=count, default=None),
        ),
        "  holdfast log task TASK-001\n"
        "  holdfast log TASK-001 -n 1                 what was changed last, by whom\n"
        "  holdfast log design-note dsn_… --json | jq .fields",
    ),
    Command(
        "graph",
        "show what waits for what, or what came from what, as trees",
        "graph:graph",
        (
            _option(
                "what",
                help="tasks (the default), initiatives, checkpoints or workflow",
                offer=Offer.GRAPHS,
                metavar="KIND",
                nargs="?",
            ),
            _option(
                "id",
                help="the session of the checkpoints, the workflow, or the task to begin with",
                offer=Offer.GRAPH_IDS,
                metavar="ID",
                nargs="?",
            ),
            _switch(
                "--ready",
                help="begin with what waits for nothing any more, be it running already or not, and leave out what is done",
            ),
            _switch("--reverse", help="below each record what it comes after, instead of what comes after it"),
            _option("--filter", help="only records that match", metavar="FILTER", default=""),
        ),
        "  holdfast graph                             all tasks, and below each what waits for it\n"
        "  holdfast graph --ready                     what can be or is being worked on, and what that lets begin\n"
        "  holdfast graph tasks TASK-007 --reverse    what TASK-007 waits for\n"
        "  holdfast graph --filter 'initiative_id = \"INIT-001\"'\n"
        "  holdfast graph checkpoints ses_…\n"
        "  holdfast graph workflow ship               its versions",
    ),
    Command(
        "cat",
        "write a blob, a checkpoint's context, or the content of an artifact or an execution log to stdout",
        "contents:cat",
        (
            _option(
                "what",
                help="a digest (sha256:…), or the id of a checkpoint, an artifact or an execution log",
                offer=Offer.CONTENTS,
                metavar="WHAT",
            ),
            _option("directory", help="with --all: where to, a directory that does not exist yet", metavar="DIR", nargs="?"),
            _switch("--all", help="write every checkpoint's context of the session WHAT into DIR, all or nothing"),
            _option("--kind", help="the kind of the record, when two have that id", offer=Offer.KINDS, metavar="KIND"),
            _option("--offset", help="the first byte wanted", metavar="BYTES", type=count, default=0),
            _option("--length", help="how many bytes", metavar="BYTES", type=positive, default=0),
            _switch("--force", help="write binary content to a terminal, too"),
        ),
        "  holdfast cat sha256:2cf24d…  > greeting.txt\n"
        "  holdfast cat chk_… | jq .messages\n"
        "  holdfast cat art_… --offset 1048576 --length 4096 | xxd\n"
        "  holdfast cat --all ses_… ./contexts",
    ),
    Command(
        "tail",
        "show the end of a transcript, or of another journal",
        "transcript:tail",
        (
            _SESSION,
            _switch("-f", "--follow", help="go on with what is appended, also while the daemon restarts"),
            _option(
                "-n", "--lines", help="how many entries (default: %(default)s)", metavar="N", type=count, default=DEFAULT_LINES
            ),
            _option("--start", help="from this entry on, instead of the last ones", metavar="NUMBER", type=positive, default=0),
            _option("--filter", help="only entries that match, such as 'role = \"prompt\"'", metavar="FILTER", default=""),
            _option(
                "--parent-kind",
                help="whose transcript it is (default: %(default)s)",
                offer=Offer.KINDS,
                metavar="KIND",
                default="session",
            ),
            _option(
                "--journal",
                help="which journal, such as event (default: %(default)s)",
                offer=Offer.JOURNALS,
                metavar="JOURNAL",
                default="transcript",
            ),
            _switch("--full", help="all lines of each entry"),
        ),
        "  holdfast tail ses_… -f\n"
        "  holdfast tail ses_… --start 1 --full       the whole transcript\n"
        "  holdfast tail TASK-001 --parent-kind task\n"
        "  holdfast tail TASK-001 --parent-kind task --journal event -f\n"
        "  holdfast tail ses_… --start 1 --json > transcript.jsonl",
    ),
    Command(
        "watch",
        "show changes as they happen",
        "changes:watch",
        (
            _option(
                "--kind", help="only this kind or journal; may be repeated", offer=Offer.WATCHED, metavar="KIND", action="append"
            ),
            _option("--id", help="only this record or journal; may be repeated", metavar="ID", action="append"),
            _option("--since", help="begin after this revision; 0 is the beginning (default: now)", metavar="REV", type=count),
            _switch("--replay", help="end at the present instead of waiting for more"),
        ),
        "  holdfast watch --kind tasks\n"
        "  holdfast watch --kind task --id TASK-001 --since 0 --replay      the history of a task\n"
        "  holdfast watch --json | jq .record",
    ),
    Command(
        "sweep",
        "delete blobs that nothing refers to any more",
        "upkeep:sweep",
        (_switch("--dry-run", help="only tell what would be deleted"),),
        "  holdfast sweep --dry-run",
    ),
    Command(
        "verify",
        "check every row and blob of the store",
        "upkeep:verify",
        (_switch("--read-blobs", help="also read and decode every blob's content"),),
        "  holdfast verify                exits with 1 when something is wrong\n  holdfast verify --read-blobs --json",
    ),
    Command(
        "completion",
        "print the completion script of a shell",
        "completion:print_script",
        (_option("shell", help="bash, zsh or fish", offer=Offer.SHELLS, choices=("bash", "zsh", "fish")),),
        "  source <(holdfast completion bash)                        for this shell; put it into ~/.bashrc for all\n"
        "  source <(holdfast completion zsh)                         the same in ~/.zshrc\n"
        "  holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
    ),
    Command(
        "help",
        "show what a command does, with examples",
        "parser:print_help",
        (_option("verb", help="the command; without it, all of them", offer=Offer.COMMANDS, metavar="COMMAND", nargs="?"),),
        "  holdfast help\n  holdfast help create           the same as `holdfast create --help`",
    ),
)

COMMANDS_BY_NAME: Mapping[str, Command] = {each.name: each for each in COMMANDS}
