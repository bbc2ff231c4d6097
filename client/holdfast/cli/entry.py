"""Runs one command: arguments in, exit code out, and every foreseen error as a line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from holdfast.cli import exits
from holdfast.cli.commands import COMMANDS_BY_NAME, Command
from holdfast.cli.options import Options
from holdfast.cli.parser import make_parser, parse
from holdfast.errors import HoldfastError, InternalError, InvalidArgument

COMPLETE = "_complete"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; see `holdfast --help` for what the codes mean."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    try:
        code = _run(given)
        print(end="", flush=True)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _settle_stdout()
        return exits.PIPE_CLOSED
    except HoldfastError as error:
        return exits.report(error, as_json=_wants_json(given))
    except UnicodeEncodeError:
        return exits.report(InvalidArgument("The arguments must be UTF-8.", reason="USAGE"), as_json=_wants_json(given))
    except OSError as error:
        _settle_stdout()
        return exits.report(InternalError(str(error), reason="OS_ERROR"), as_json=_wants_json(given))
    return code


def _run(given: list[str]) -> int:
    if given[:1] == [COMPLETE]:
        from holdfast.cli.completion import complete

        return complete(given[1:])
    parsed = parse(given)
    if parsed.command is None:
        make_parser().print_help(sys.stderr)
        return exits.USAGE
    return _function(COMMANDS_BY_NAME[parsed.command])(Options.of(parsed), parsed)


def _function(command: Command) -> Callable[..., int]:
    module, _, name = command.run.partition(":")
    function: Callable[..., int] = getattr(import_module(f"holdfast.cli.{module}"), name)
    return function


def _wants_json(given: list[str]) -> bool:
    """Asked of the arguments as they are, for they may be what is wrong."""
    return "--json" in given


def _open_closed_streams() -> None:
    """A stream that the shell has closed (`>&-`) leads nowhere from now on, and no other file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 it stays for the process's life


def _settle_stdout() -> None:
    """Writes what is buffered; when nobody takes it, it goes nowhere, or the interpreter would complain at its end."""
    try:
        print(end="", flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
