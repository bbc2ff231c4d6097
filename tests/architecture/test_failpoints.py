"""The crash tier knows every failpoint of the daemon, and names none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.crash.deaths import FAILPOINTS, STOPPING

# A store migrates once, before it is served: tests/end_to_end/test_migrate_deaths.py kills that at each of these.
OF_MIGRATIONS = {"migrate.after_snapshot", "migrate.before_commit", "migrate.after_commit"}


def test_the_crash_tier_kills_at_every_failpoint(root: Path) -> None:
    source = "".join(path.read_text() for path in sorted((root / "daemon").rglob("*.py")))
    calls = re.findall(r"failpoints\.hit\(([^)]*)\)", source)
    hit = {found[1] for each in calls if (found := re.fullmatch(r'"([a-z_.]+)"', each))}
    assert len(calls) == len(hit), "a failpoint's name is written out, and only once"
    assert hit == {*FAILPOINTS, *STOPPING} | OF_MIGRATIONS
