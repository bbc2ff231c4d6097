"""`python -m tests.powerfail`: cuts the power of a daemon's disk, in a model, and checks that nothing acknowledged is lost.

Records the daemon and its clients on a file system that logs every change and every sync, makes what a disk may hold when the
power is cut at points of that log, starts a daemon on each of these states and asks it for everything acknowledged before.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.durability.daemon import DaemonFailed
from tests.landed.trees import CommitMissing
from tests.powerfail.breaks import BREAKS
from tests.powerfail.campaign import Campaign, check_again, make_state
from tests.powerfail.cuts import Cut
from tests.powerfail.namespace import CannotRun, enter
from tests.powerfail.recordings import SCENARIOS, RecordingFailed
from tests.powerfail.states import MODES

EXIT_PROBLEMS, EXIT_USAGE, EXIT_CANNOT_RUN = 1, 2, 3
_EPILOG = f"""\
modes: {", ".join(MODES)} (tests/powerfail/states.py describes them)

problems begin with what they are about:
  LOST      an acknowledged write is missing or unreadable
  verify    the store's own check found damage
  start     the daemon does not start on the state
  stop      the daemon does not stop in order
  snapshot  a torn copy lies under its final name after a migration
  leak      files that no row names are left; no data is lost
Any other problem is an inconsistency: an operation applied in part, history and lists that differ, an id given twice.

examples:
  python -m tests.powerfail --states 200                     the short form
  python -m tests.powerfail --seed 7 --only first,puts       two of the recordings, again with that seed
  python -m tests.powerfail --breaks                         the tier must find each deliberate break of the daemon
  python -m tests.powerfail --breaks file-unsynced
  python -m tests.powerfail --recording DIR --point 1234 --mode torn --state-seed 99             one state again
  python -m tests.powerfail --recording DIR --point 1234 --mode torn --state-seed 99 --to ./bad  only make it

exit codes: 0 no problem; 1 a problem, or a break that was not found; 2 wrong usage; 3 it cannot run (no FUSE, no earlier commit)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tier in a mount namespace of its own and returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(words)
    _check(parser, options)
    try:
        if options.to is None:
            enter(words)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_PROBLEMS))  # so that daemons and files are cleared away
        return _run(options)
    except (CannotRun, CommitMissing) as error:
        print(f"powerfail: cannot run\n{error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    except (RecordingFailed, DaemonFailed) as error:
        print(f"powerfail: FAILED while recording: {error}", file=sys.stderr)
        return EXIT_PROBLEMS


def _run(options: argparse.Namespace) -> int:
    if options.point is not None:
        cut = Cut(options.point, options.mode, options.state_seed)
        if options.to is not None:
            make_state(options.recording, cut, options.to)
            return 0
        return 0 if check_again(options.recording, cut) else EXIT_PROBLEMS
    campaign = Campaign(Path(tempfile.mkdtemp(prefix="powerfail-")), options.seed, options.jobs)
    if options.breaks is not None:
        return 0 if campaign.run_breaks(options.breaks or list(BREAKS)) else EXIT_PROBLEMS
    if options.recording is not None:
        return 0 if campaign.run_recorded(options.recording, options.states) else EXIT_PROBLEMS
    return 0 if campaign.run(options.only, options.states) else EXIT_PROBLEMS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.powerfail",
        description=__doc__.partition(": ")[2] if __doc__ else None,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    seed = random.SystemRandom().randrange(1 << 32)
    parser.add_argument("--states", type=int, default=2000, help="number of states (default: 2000)")
    parser.add_argument("--seed", type=int, default=seed, help="of the load, the points and the states; default: a random one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="checking processes (default: one per core)")
    parser.add_argument(
        "--only", type=_names, default=list(SCENARIOS), metavar="NAME,…", help=f"recordings (default: {','.join(SCENARIOS)})"
    )
    parser.add_argument(
        "--breaks", nargs="*", choices=list(BREAKS), metavar="NAME", help=f"check that breaks are found: {', '.join(BREAKS)}"
    )
    again = parser.add_argument_group("an earlier recording")
    again.add_argument("--recording", type=Path, metavar="DIR", help="the directory of a recording, as a report names it")
    again.add_argument("--point", type=int, help="cut there only, in the state of --mode and --state-seed")
    again.add_argument("--mode", choices=MODES, metavar="MODE")
    again.add_argument("--state-seed", type=int, metavar="SEED")
    again.add_argument("--to", type=Path, metavar="DIR", help="make the state in this new directory and do not check it")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - SCENARIOS.keys():
        raise argparse.ArgumentTypeError(f"no recording is called {min(unknown)}; there are {', '.join(SCENARIOS)}")
    return names


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    one_state = (options.point, options.mode, options.state_seed)
    if any(each is not None for each in one_state) and None in (*one_state, options.recording):
        parser.error("one state needs --recording, --point, --mode and --state-seed")
    if options.to is not None and options.point is None:
        parser.error("--to needs --point")
    if options.recording is not None and not (options.recording / "log").is_file():
        parser.error(f"{options.recording} is not the directory of a recording: it has no log")
    if options.states < 1 or options.jobs < 1:
        parser.error("--states and --jobs must be at least 1")


if __name__ == "__main__":
    sys.exit(main())
