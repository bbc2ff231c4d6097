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
    WATCHED = "kinds and journals"
    IDS = "ids of the kind before"
    SESSIONS = "ids of sessions"
    CONTENTS = "ids of records with content"
    SHELLS = "shells"


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

_KIND = _option("kind", help="what to look at, such as tasks or session", offer=Offer.KINDS, metavar="KIND")
_SESSION = _option("session", help="the session's id", offer=Offer.SESSIONS, metavar="SESSION")

COMMANDS = (
    Command(
        "up",
        "start the daemon of the per-user store",
        "daemon:up",
        (
            _option(
                "--idle-exit",
                help="end it so many seconds after its last call (default: never)",
                metavar="SECONDS",
                type=count,
                default=0,
            ),
        ),
        "  holdfast up                    start it, or say that it runs already\n  HOLDFAST_DATA_DIR=./store holdfast up",
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
            _option("--order-by", help="fields, such as `update_time desc` (default: create_time)", metavar="FIELDS", default=""),
            _option("--limit", help="how many at most", metavar="N", type=count, default=None),
            _option("--page-size", help="how many to fetch at a time", metavar="N", type=page_size, default=0),
            _option("--columns", help="which fields to show, such as id,title,metadata.branch", metavar="FIELDS", default=""),
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
        (_KIND, _option("id", help="the record's id", offer=Offer.IDS, metavar="ID")),
        "  holdfast show task TASK-001\n  holdfast show session ses_… --json",
    ),
    Command(
        "cat",
        "write a blob, a checkpoint's context or an artifact's content to stdout",
        "contents:cat",
        (
            _option(
                "what", help="a digest (sha256:…), or the id of a checkpoint or an artifact", offer=Offer.CONTENTS, metavar="WHAT"
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
        "show the end of a transcript",
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
            _switch("--full", help="all lines of each entry"),
        ),
        "  holdfast tail ses_… -f\n"
        "  holdfast tail ses_… --start 1 --full       the whole transcript\n"
        "  holdfast tail TASK-001 --parent-kind task\n"
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
)

COMMANDS_BY_NAME: Mapping[str, Command] = {each.name: each for each in COMMANDS}
