"""The argument parser, made from the table of commands."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any, NoReturn

import holdfast
from holdfast.cli import exits
from holdfast.cli.commands import COMMANDS, COMMANDS_BY_NAME, GLOBAL_ARGUMENTS, Argument, Command
from holdfast.cli.options import Options
from holdfast.errors import InvalidArgument

_DESCRIPTION = "Looks into a Holdfast store, changes it, and looks after its daemon."

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
  5 the store is not as the command needs it   130 stopped by Ctrl-C   141 nobody reads the output any more

environment:
  HOLDFAST_SOCKET      the socket of a daemon that runs; nothing is started then
  HOLDFAST_DATA_DIR    the directory of the per-user store
"""


class Parser(argparse.ArgumentParser):
    """Raises InvalidArgument instead of ending the process, so that errors come out in one place."""

    def error(self, message: str) -> NoReturn:
        raise InvalidArgument(f"{message.rstrip('.?')}. See `{self.prog} --help`.", reason="USAGE")


def make_parser() -> Parser:
    """The parser of `holdfast`. Global options are understood before and after the command."""
    parser = Parser(
        prog="holdfast",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"holdfast {holdfast.__version__}")
    _add_all(parser.add_argument_group("global options"), GLOBAL_ARGUMENTS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    for each in COMMANDS:
        _add_command(commands, each)
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """The parsed arguments; `command` is None when none was given. Raises InvalidArgument."""
    parser = make_parser()
    _check_command(parser, arguments)
    parsed, rest = parser.parse_known_args(arguments)
    if rest:
        _place(parser, parsed, rest)
    return parsed


def print_help(options: Options, given: argparse.Namespace) -> int:
    """Prints the help of a command, or of all, as `--help` does."""
    parser = make_parser()
    words = [given.verb] if given.verb is not None else []
    _check_command(parser, words)
    parser.parse_args([*words, "--help"])  # ends the process, well
    return exits.OK


def _place(parser: Parser, parsed: argparse.Namespace, rest: list[str]) -> None:
    """Gives words that stand after an option to the arguments that may be left out, which argparse fills only before it."""
    words = list(rest)
    if parsed.command is not None and not any(each.startswith("-") for each in rest):
        for argument in COMMANDS_BY_NAME[parsed.command].arguments:
            name = argument.flags[0]
            if argument.repeats:
                setattr(parsed, name, [*getattr(parsed, name), *words])
                words = []
            elif words and argument.settings.get("nargs") == "?" and getattr(parsed, name) is None:
                setattr(parsed, name, words.pop(0))
    if words:
        prog = parser.prog if parsed.command is None else f"{parser.prog} {parsed.command}"
        Parser(prog=prog).error(f"unrecognized arguments: {' '.join(words)}")


def _add_command(commands: Any, command: Command) -> None:
    parser = commands.add_parser(
        command.name,
        help=command.summary,
        description=f"{command.summary[0].upper()}{command.summary[1:]}.",
        epilog=f"examples:\n{command.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_all(parser, command.arguments)
    # What was said before the command must not be overwritten by a default after it.
    _add_all(parser.add_argument_group("global options"), GLOBAL_ARGUMENTS, default=argparse.SUPPRESS)


def _add_all(parser: Any, arguments: tuple[Argument, ...], **overrides: Any) -> None:
    for each in arguments:
        settings = {"help": each.help, **each.settings, **overrides}
        if "default" in overrides:
            settings["help"] = each.help.partition(" (default:")[0]
        parser.add_argument(*each.flags, **settings)


def _check_command(parser: Parser, arguments: list[str]) -> None:
    """argparse lists all commands for one that it does not know; a suggestion says more."""
    if not arguments or arguments[0].startswith("-") or arguments[0] in COMMANDS_BY_NAME:
        return
    close = get_close_matches(arguments[0], COMMANDS_BY_NAME, n=1)
    advice = f"did you mean {close[0]}?" if close else f"they are {', '.join(COMMANDS_BY_NAME)}"
    parser.error(f"there is no command {arguments[0]!r} ({advice})")
