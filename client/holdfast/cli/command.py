"""Declares commands: click's command with the global options, examples in its help, and types for numbers.

Modules that declare commands import protobuf and gRPC only inside the command's function, so that help and the completion of
options are fast.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import click

from holdfast.cli import exits
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


# Types of options. They raise ValueError, to which click adds the option's name. The daemon limits a page to 1,000 items.
count, positive, page_size = _whole(0), _whole(1), _whole(1, 1000)


def seconds(text: str) -> float:
    """A type of option: a number of seconds, more than 0 and at most 1,000,000."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of seconds") from None
    if not 0 < number <= 10**6:
        raise ValueError("must be more than 0 and at most 1,000,000")
    return number


def offered(name: str) -> Completer:
    """Returns a completer that calls the function `name` of `completion`, which is imported only when Tab is pressed."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        from holdfast.cli import completion

        found: list[str] = getattr(completion, name)(context, incomplete)
        return found

    return complete


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Sets a global option. These may precede or follow the command; an option that is absent keeps its earlier value."""
    if value is not None:
        context.obj = context.obj._replace(**{parameter.human_readable_name: value})


def _global(flag: str, name: str, help: str, **settings: Any) -> click.Option:
    return click.Option([flag, name], help=help, default=None, callback=_remember, expose_value=False, **settings)


_SOCKET = "the daemon's socket (default: HOLDFAST_SOCKET, else the per-user store, whose daemon is started if none runs)"
_TIMEOUT = f"how long to wait for the daemon, in seconds (default: {DEFAULT_TIMEOUT_S:g})"


def global_options() -> list[click.Parameter]:
    """Returns new options for a command, or for `holdfast` itself."""
    return [
        _global("--socket", "socket", _SOCKET, metavar="PATH", type=click.Path(readable=False)),
        _global("--workspace", "workspace", f"the workspace (default: {DEFAULT_WORKSPACE})", metavar="NAME"),
        _global("--json", "as_json", "write JSON, one object a line, and errors as JSON too", is_flag=True, flag_value=True),
        _global("--timeout", "timeout_s", _TIMEOUT, metavar="SECONDS", type=seconds),
    ]


class AsWritten(click.Command):
    """A command whose help ends with its examples, with their line breaks kept."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the epilog without rewrapping its lines."""
        formatter.write(f"\n{self.epilog}\n")


class Command(AsWritten):
    """A command of `holdfast`, with the global options."""

    allow_extra_args = True  # `parse_args` refuses them with a message of its own

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses arguments that no parameter takes."""
        try:
            rest = super().parse_args(ctx, args)
        except click.BadOptionUsage as error:
            error.ctx = error.ctx or ctx  # click does not say which command an option without its value is of
            raise
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"unrecognized argument{'s:' if len(rest) > 1 else ''} {' '.join(rest)}")
        return rest

    def invoke(self, ctx: click.Context) -> int:
        """Runs the command. The exit code is 1 if it succeeded but the daemon could not read all that it asked for."""
        from holdfast.cli.unreadable import counted

        with counted() as unreadable:
            code: int = super().invoke(ctx)
        return exits.FAILED if code == exits.OK and unreadable.count else code


def command(name: str) -> Callable[[Callable[..., int]], Command]:
    """Makes a function a command. The function gets the `Options` and its own parameters, and returns the exit code.

    The first paragraph of its docstring is the command's help; the rest holds the examples, shown as they are written.
    """

    def declare(function: Callable[..., int]) -> Command:
        help, _, examples = cleandoc(function.__doc__ or "").partition("\n\n")
        made = click.command(name, cls=Command, help=help, epilog=examples)(click.pass_obj(function))
        made.params += global_options()
        return made

    return declare
