"""How a command is declared: click's command with the global options, examples in its help, and types of numbers.

The modules that declare commands import what needs protobuf or gRPC inside of the command, so that help and the completion of
options stay quick.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import click

from holdfast.cli.options import DEFAULT_TIMEOUT_S, DEFAULT_WORKSPACE

Completer = Callable[[click.Context, click.Parameter, str], list[Any]]


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not least <= found < 2**63:
            raise ValueError(f"must be {least} or more, and less than 2^63")
        if found > most:
            raise ValueError(f"must be {most:,} or less")
        return found

    return number


# Types of options. They raise ValueError, to which click adds the option's name.
count, positive, page_size = _whole(0), _whole(1), _whole(1, 1000)  # the last is the daemon's limit


def seconds(text: str) -> float:
    """A length of time above 0."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not 0 < number <= 10**6:
        raise ValueError("must be more than 0 and at most 1,000,000")
    return number


def offered(name: str) -> Completer:
    """The function of that name in `completion`, which is imported when somebody presses Tab."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from holdfast.cli import completion

        found: list[str] = getattr(completion, name)(context, incomplete)
        return found

    return complete


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Global options stand before or after the command: one that is not given leaves what was given earlier."""
    if value is not None:
        context.obj = context.obj._replace(**{parameter.human_readable_name: value})


def _global(flag: str, name: str, help: str, **settings: Any) -> click.Option:
    return click.Option([flag, name], help=help, default=None, callback=_remember, expose_value=False, **settings)


_SOCKET = "the daemon's socket; without it HOLDFAST_SOCKET, and else the per-user store, whose daemon is started when needed"
_TIMEOUT = f"how long to wait for the daemon, in seconds (default: {DEFAULT_TIMEOUT_S:g})"


def global_options() -> list[click.Parameter]:
    """The options of every command, and of `holdfast` itself."""
    return [
        _global("--socket", "socket", _SOCKET, metavar="PATH", type=click.Path()),
        _global("--workspace", "workspace", f"the workspace (default: {DEFAULT_WORKSPACE})", metavar="NAME"),
        _global("--json", "as_json", "write JSON, one object a line, and errors as JSON too", is_flag=True, flag_value=True),
        _global("--timeout", "timeout_s", _TIMEOUT, metavar="SECONDS", type=seconds),
    ]


class AsWritten(click.Command):
    """A command whose help ends with its examples, laid out as they are written."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the epilog without filling its lines."""
        formatter.write(f"\n{self.epilog}\n")


class Command(AsWritten):
    """A command of `holdfast`, with the global options."""

    allow_extra_args = True  # `parse_args` refuses them in the words of this command line

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses what is left over."""
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"unrecognized arguments: {' '.join(rest)}")
        return rest


def command(name: str) -> Callable[[Callable[..., int]], Command]:
    """Makes a function a command. It gets the `Options` and its own parameters, and returns the exit code.

    Its docstring is its help: what it does, and after an empty line its examples, laid out as they are to be shown.
    """

    def declare(function: Callable[..., int]) -> Command:
        help, _, examples = cleandoc(function.__doc__ or "").partition("\n\n")
        made = click.command(name, cls=Command, help=help, epilog=examples)(click.pass_obj(function))
        made.params += global_options()
        return made

    return declare
