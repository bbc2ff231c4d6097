"""The crash tier uses every failpoint of the daemon, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tests.crash.deaths import FAILPOINTS, STOPPING

# Migrations run once, before the daemon serves. tests/end_to_end/test_migrate_deaths.py covers their failpoints.
OF_MIGRATIONS = {"migrate.before_snapshot_sync", "migrate.after_snapshot", "migrate.before_commit", "migrate.after_commit"}
# `--begin-anew` too: tests/end_to_end/test_foreign_files.py.
OF_QUARANTINE = {"begin_anew.moved", "begin_anew.moved_files"}


def test_the_crash_tier_kills_at_every_failpoint(root: Path) -> None:
    source = "".join(path.read_text() for path in sorted((root / "daemon").rglob("*.py")))
    calls = re.findall(r"failpoints\.hit\(([^)]*)\)", source)
    hit = {found[1] for each in calls if (found := re.fullmatch(r'"([a-z_.]+)"', each))}
    assert len(calls) == len(hit), "each failpoint's name must be a literal, used once"
    assert hit == {*FAILPOINTS, *STOPPING} | OF_MIGRATIONS | OF_QUARANTINE
