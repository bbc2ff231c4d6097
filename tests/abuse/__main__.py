"""`python -m tests.abuse`: Attacks daemons with malformed calls, floods, overload, faults of the machine and damaged files."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

from tests.abuse import damage, floods, frozen, fuzz, ground, limits, overload
from tests.abuse.attack import Attack

PARTS: dict[str, Callable[[Attack], None]] = {
    "fuzz": fuzz.run,
    "floods": floods.run,
    "overload": overload.run,
    "frozen": frozen.run,
    "limits": limits.run,
    "ground": ground.run,
    "damage": damage.run,
}
_SHOWN_PROBLEMS = 20

_EXAMPLES = """\
examples:
  python -m tests.abuse                           all parts in their full form
  python -m tests.abuse --short                   all parts in the form that CI runs, in less than three minutes
  python -m tests.abuse fuzz floods               two of the parts
  python -m tests.abuse fuzz --seed 7 --only 123  one input again, of the run with that seed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every demand held, 1 otherwise, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    names = options.parts or list(PARTS)
    print(f"abuse tier: {', '.join(names)}; {'short' if options.short else 'full'} form, seed {options.seed}", flush=True)
    failed = [name for name in names if not _holds(name, options)]
    took = f"{time.monotonic() - began:.0f} s"
    if failed:
        print(f"abuse tier: FAILED in {took}: {', '.join(failed)}", flush=True)
        return 1
    print(f"abuse tier: every demand held, {took}", flush=True)
    return 0


def _holds(name: str, options: argparse.Namespace) -> bool:
    """Runs one part and prints its result."""
    attack = Attack(name, options.seed, not options.short, options.only)
    try:
        PARTS[name](attack)
    finally:
        attack.close()
    if not attack.problems:
        attack.tell("every demand held")
        return True
    print(f"FAILED: {name}, {len(attack.problems)} problems; its files are kept in {attack.path}")
    for problem in attack.problems[:_SHOWN_PROBLEMS]:
        print(f"  - {problem}")
    if len(attack.problems) > _SHOWN_PROBLEMS:
        print(f"  … and {len(attack.problems) - _SHOWN_PROBLEMS} more")
    form = " --short" if options.short else ""
    print(f"To repeat: python -m tests.abuse {name} --seed {options.seed}{form}", flush=True)
    return False


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {name:<10}{(sys.modules[run.__module__].__doc__ or '').splitlines()[0]}" for name, run in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.abuse",
        description=f"{(__doc__ or '').partition(': ')[2]}\nparts:\n{parts}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help="the parts to run (default: all)")
    parser.add_argument("--short", action="store_true", help="fewer inputs and smaller loads, as in CI")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="default: a random one")
    parser.add_argument("--only", type=int, metavar="N", help="with fuzz or damage: only the input or flip of this number")
    return parser


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"no part is called {name}; there are {', '.join(PARTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
