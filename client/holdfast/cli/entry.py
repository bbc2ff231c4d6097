"""Runs one command: takes the arguments, returns the exit code, and prints each expected error as a line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from shlex import quote

import click

import holdfast
from holdfast.cli import exits
from holdfast.cli.command import AsWritten, Command, command, global_options
from holdfast.cli.options import Options
from holdfast.errors import HoldfastError, InternalError, InvalidArgument

# Each command's module and function, and its help in one line.
COMMANDS = {
    "up": ("daemon:up", "start the daemon of the per-user store"),
    "down": ("daemon:down", "stop the daemon"),
    "status": ("daemon:status", "show the state of the daemon and the size of the store"),
    "workspaces": ("daemon:workspaces", "list the workspaces of the store"),
    "list": ("records:list_records", "list the records of a kind"),
    "show": ("records:show_record", "show one record with all its fields"),
    "create": ("records:create", "add a record of any kind, and print its id"),
    "set": ("records:set_fields", "change fields of a record, and print its new version"),
    "delete": ("records:delete", "remove a record"),
    "load": ("load:load", "add existing records or entries, which keep their ids, times and versions"),
    "log": ("records:log", "show the history of a record as a diff, newest first"),
    "graph": ("records:graph", "show dependencies, or the versions made from each other, as trees"),
    "cat": ("contents:cat", "write a blob, or the content of a record, to stdout"),
    "tail": ("journals:tail", "show the end of a transcript, or of another journal"),
    "watch": ("journals:watch", "show changes as they happen"),
    "sweep": ("upkeep:sweep", "delete blobs that no record refers to"),
    "verify": ("upkeep:verify", "check every row and blob of the store"),
    "completion": ("shells:print_script", "print the completion script of a shell"),
    "help": ("entry:show_help", "show what a command does, with examples"),
}

_EPILOG = """\
examples:
  holdfast up
  holdfast list tasks --filter 'status = "running"'
  holdfast create task title='Fix the login' tags=urgent
  holdfast set task TASK-001 status=running
  holdfast log TASK-001
  holdfast tail ses_… -f
  holdfast help COMMAND          more about a command, with examples; COMMAND --help is the same

exit codes:
  0 done   1 failed, or problems were found   2 wrong usage   3 no daemon   4 not found
  5 conflict with what is stored   130 stopped by Ctrl-C   141 the reader of the output closed it

environment:
  HOLDFAST_SOCKET      the socket of a running daemon; if set, no daemon is started
  HOLDFAST_DATA_DIR    the directory of the per-user store
  NO_COLOR             no colours on a terminal"""


class Commands(AsWritten, click.Group):
    """The commands by name. A command's module is imported when the command is resolved, not when commands are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A stand-in for a command, with the short help that help and completion show."""
        return click.Command(cmd_name, short_help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself, and its arguments."""
        if args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        if ctx.resilient_parsing:
            return args[0], click.Command(args[0]), []
        raise _unknown(ctx, args[0])


def load(name: str) -> Command:
    """Imports a command's module and returns the command."""
    module, _, function = COMMANDS[name][0].partition(":")
    found: Command = getattr(import_module(f"holdfast.cli.{module}"), function)
    return found


def _unknown(context: click.Context, name: str) -> click.UsageError:
    close = _closest(name, COMMANDS)
    advice = f"did you mean {close}?" if close else f"they are {', '.join(COMMANDS)}"
    return click.UsageError(f"there is no command {name!r} ({advice})", context)


def _closest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), "")


@click.command(
    cls=Commands,
    invoke_without_command=True,
    no_args_is_help=False,
    help="Reads and changes a Holdfast store, and starts and stops its daemon.",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(holdfast.__version__, prog_name="holdfast", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> int:
    """Without a command, prints the help on stderr and fails as wrong usage."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
    return exits.USAGE


cli.params += global_options()


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [each for each in COMMANDS if each.startswith(incomplete)]


@command("help")
@click.argument("name", metavar="[COMMAND]", required=False, help="the command; without it, all of them", shell_complete=_names)
def show_help(options: Options, name: str | None) -> int:
    """Prints the help of a command, or of all, as `--help` does.

    examples:
      holdfast help
      holdfast help create           the same as `holdfast create --help`
    """
    return _invoke([name, "--help"] if name else ["--help"])


def run(given: list[str]) -> int:
    """Runs the command and returns its exit code. After `--help` and `--version` it raises SystemExit."""
    _open_closed_streams()
    try:
        code = _run(given)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _settle_stdout()
        return exits.PIPE_CLOSED
    except click.UsageError as error:
        return exits.report(_wrong_usage(error, given), as_json=_wants_json(given))
    except HoldfastError as error:
        from holdfast.cli.damage import with_commands

        return exits.report(with_commands(error), as_json=_wants_json(given))
    except UnicodeEncodeError:
        return exits.report(InvalidArgument("The arguments must be UTF-8.", reason="USAGE"), as_json=_wants_json(given))
    except OSError as error:
        _settle_stdout()
        return exits.report(InternalError(str(error), reason="OS_ERROR"), as_json=_wants_json(given))
    return code


def _run(given: list[str]) -> int:
    if (instruction := os.environ.get("_HOLDFAST_COMPLETE")) is not None:
        from holdfast.cli.shells import complete

        return complete(cli, instruction)
    try:
        return _invoke(given)
    except click.exceptions.Exit as ended:
        raise SystemExit(ended.exit_code) from None


def _invoke(given: list[str]) -> int:
    with cli.make_context("holdfast", list(given), obj=Options()) as context:  # click empties the list
        code: int = cli.invoke(context)
        return code


def _wrong_usage(error: click.UsageError, given: list[str]) -> InvalidArgument:
    """Puts click's message on one line that begins with a small letter, as the messages of this command line do."""
    said = _unknown_option(error, given) if isinstance(error, click.NoSuchOption) else " ".join(error.format_message().split())
    path = error.ctx.command_path if error.ctx is not None else "holdfast"
    return InvalidArgument(f"{said[:1].lower()}{said[1:].rstrip('.?')}. See `{path} --help`.", reason="USAGE")


def _unknown_option(error: click.NoSuchOption, given: list[str]) -> str:
    # Compared without the dashes, which would make all options similar.
    close = _closest(error.option_name.lstrip("-"), [each.lstrip("-") for each in error.possibilities or ()])
    advice = _as_field(error, given) or (f"did you mean --{close}?" if close else "")
    return f"unrecognized argument {error.option_name}{f' ({advice})' if advice else ''}"


def _as_field(error: click.NoSuchOption, given: list[str]) -> str:
    """The advice to set a field by FIELD=VALUE, if the command does that and its kind has a field of the option's name."""
    if error.ctx is None or all(each.name != "fields" for each in error.ctx.command.params):
        return ""
    from holdfast.cli.kind_names import is_kind, kind_named, plain_name

    kind = next((kind_named(each) for each in given[given.index(error.ctx.command.name or "") :] if is_kind(each)), None)
    name = plain_name(error.option_name.lstrip("-"))
    if kind is None or name not in kind.by_name or kind.by_name[name].output_only:
        return ""
    return f"write {name}={_value_after(error.option_name, given)}"


def _value_after(option: str, given: list[str]) -> str:
    """The value that the command line gives to an option, quoted for a shell; VALUE if it gives none."""
    for word, following in zip(given, [*given[1:], ""], strict=True):
        name, assigned, value = word.partition("=")
        if name == option:
            value = value if assigned else following
            return quote(value) if value and not value.startswith("-") else "VALUE"
    return "VALUE"


def _wants_json(given: list[str]) -> bool:
    """Whether errors are to be JSON. Looks at the raw arguments, because parsing them may have failed."""
    return "--json" in given


def _open_closed_streams() -> None:
    """Opens /dev/null for each standard stream that the shell has closed (`>&-`), so that no other file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 it stays open until the process ends


def _settle_stdout() -> None:
    """Flushes stdout. If that fails, redirects it to /dev/null, so that the interpreter's flush at exit does not fail too."""
    try:
        print(end="", flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
