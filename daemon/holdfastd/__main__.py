"""The command `holdfastd`: serves a store in the foreground, or brings it to the newest schema."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from holdfast.contract.places import fault_of_all
from holdfastd import __version__, logs, threads
from holdfastd.errors import HoldfastError, SetupError
from holdfastd.settings import Settings, WrongFlag, default_socket, flag_of, load_settings, shown_default, suggestion

EXIT_REFUSED = 1
EXIT_FAILED = 70

_FLAGS_OF_THE_COMMAND = ("-h", "--help", "--version", "--config", "--dry-run", "--begin-anew")

_EXAMPLES = """\
examples:
  holdfastd                                              the user's store, on the user's socket
  holdfastd --data-dir ./store --socket ./store.sock     a store in the current directory
  holdfastd --persistence memory --idle-exit 60          a store deleted with the daemon, a minute after the last call
  holdfastd --config holdfast.toml --log-level debug
  holdfastd migrate --dry-run --data-dir ./store         lists the migrations that are due

Every setting can also be set in the file (data_dir = "./store") or in the environment (HOLDFAST_DATA_DIR=./store).
Flags override the environment, which overrides the file. A SIZE is in bytes, or has a suffix: 65536, 64K, 64KiB, 512M, 1GiB.
Suffixes are binary: K is 1,024 bytes.

signals:
  SIGTERM, SIGINT, SIGQUIT   stops in order; a second one, a second or more later, stops at once
  SIGHUP                     reads the settings again and applies the log level
  SIGTSTP (Ctrl-Z)           suspends the daemon until SIGCONT; calls wait meanwhile
  Other signals that can be ignored are ignored.

exit codes:
  0      stopped in order; or, with migrate, the store has the newest schema or the due migrations were listed
  1      refused to start: the log says why and what to do
  2      wrong usage
  70     failed: an unexpected error, a failed sync of the disk, or a thread that died; acknowledged writes are kept
  72     the data directory was replaced, removed or overwritten while the daemon ran
  75     the stop took too long, and the process was ended
  128+n  stopped at once by a second signal, of number n: 143 after SIGTERM, 130 after SIGINT, 131 after SIGQUIT
"""

log = logs.logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0 done, 1 refused to start (see the log), 2 wrong usage, 70 failed."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    _check_flags(parser, words)
    given = vars(parser.parse_args(words))
    command, dry_run, config = given.pop("command"), given.pop("dry_run"), given.pop("config")
    begin_anew = given.pop("begin_anew")
    logs.start("info")
    try:
        settings = load_settings(given, os.environ, config)
        logs.start(settings.log_level)
        if command == "migrate" and begin_anew:
            parser.error("--begin-anew works only with serve")
        if command == "migrate":
            return _migrate(settings, dry_run)
        if dry_run:
            parser.error("--dry-run works only with migrate")
        return _serve(settings, begin_anew, lambda: _reload(settings, given, config))
    except WrongFlag as error:
        parser.error(error.message)
    except HoldfastError as error:
        log.error("refused_to_start", extra={"reason": error.reason, "text": error.message})
    except OSError as error:
        log.error("refused_to_start", extra={"reason": "OS_ERROR", "text": str(error)})
    except Exception:
        log.exception("failed_to_start")
        return EXIT_FAILED
    return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfastd",
        description="Serves a Holdfast store on a Unix socket, in the foreground.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve", "migrate"], default="serve", help="serve (the default) or migrate"
    )
    parser.add_argument("--dry-run", action="store_true", help="with migrate: list the due migrations, apply none")
    parser.add_argument(
        "--begin-anew", action="store_true", help="move blobs and a log that belong to another database to quarantine/, and start"
    )
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="a TOML file with settings")
    parser.add_argument("--version", action="version", version=f"holdfastd {__version__}")
    for setting in fields(Settings):
        _add_flag(parser, setting)
    return parser


def _check_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuses an unknown flag by name. argparse would take the flag's value for the command and refuse that instead."""
    known = {*_FLAGS_OF_THE_COMMAND, *map(flag_of, fields(Settings))}
    for word in words:
        name = word.partition("=")[0]
        if re.match("-[^0-9]", name) and name not in known:
            parser.error(f"there is no flag {name}.{suggestion(name, known)}")


def _add_flag(parser: argparse.ArgumentParser, setting: Any) -> None:
    # A bare --force-nonlocal means on. No flag has a default, so that only flags that were given override the other layers.
    bare: dict[str, Any] = {"nargs": "?", "const": "on"} if setting.metadata["metavar"] == "on|off" else {}
    parser.add_argument(
        flag_of(setting),
        dest=setting.name,
        default=argparse.SUPPRESS,
        metavar=setting.metadata["metavar"],
        help=setting.metadata["help"] + (f" (default: {shown})" if (shown := shown_default(setting)) else ""),
        **bare,
    )


def _reload(running: Settings, flags: Mapping[str, Any], config: Path | None) -> None:
    """Reads the settings again and applies the log level. The other settings that differ are logged; they need a restart."""
    try:
        found = load_settings(flags, os.environ, config)
    except HoldfastError as error:
        log.error("not_reloaded", extra={"reason": error.reason, "text": error.message})
        return
    logs.start(found.log_level)
    changed = [each.name for each in fields(Settings) if getattr(found, each.name) != getattr(running, each.name)]
    waiting = " ".join(each for each in changed if each != "log_level")
    log.warning("reloaded", extra={"log_level": found.log_level} | ({"needs_restart": waiting} if waiting else {}))


def _serve(settings: Settings, begin_anew: bool, reload: Callable[[], None]) -> int:
    if sys.platform != "linux":
        raise SetupError("holdfastd serves on Linux only: other systems lack epoll and abstract sockets. Run it on Linux.")
    if settings.socket == default_socket(os.environ) and (faults := fault_of_all(os.environ)):
        raise SetupError(f"There is no directory for the socket: {faults}. Give --socket, and HOLDFAST_SOCKET to the clients.")
    threads.check_limit()
    from holdfastd import daemon, supervisor  # imported late: --help and migrate need neither grpc nor trio

    return supervisor.run(daemon.Daemon(settings, begin_anew=begin_anew), reload)


def _migrate(settings: Settings, dry_run: bool) -> int:
    from holdfastd.migration import list_pending, migrate_store

    steps = list_pending(settings) if dry_run else migrate_store(settings)
    for step in steps:
        print(f"{'would apply' if dry_run else 'applied'} {step}")
    if not steps:
        print("nothing to do: the store has the newest schema")
    return 0


if __name__ == "__main__":
    sys.exit(main())
