"""Files that a kill left are removed by a start that lives long enough, however many starts before it did not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.daemons import Directory, eventually

pytestmark = pytest.mark.slow  # processes of its own

ORPHANS = 601


def test_orphans_are_gone_after_the_first_start_that_is_not_stopped_early(directory: Directory) -> None:
    assert directory.serve().end() == 0
    blobs = directory.path / "store" / "blobs"
    orphans = [blobs / f"{number % 256:02x}" / f"{number:064x}-0123456789abcdef" for number in range(ORPHANS)]
    for each in orphans:
        each.parent.mkdir(exist_ok=True)
        each.write_bytes(b"x")
    (directory.path / "store" / "daemon.json").write_text('{"pid": 1}')
    for _ in range(3):
        daemon = directory.serve()
        assert daemon.end() == 0
        assert daemon.card().get("clean", False) is (not any(map(Path.exists, orphans)))
    daemon = directory.serve()
    assert eventually(lambda: not any(map(Path.exists, orphans)))
    assert eventually(lambda: "event=job_done job=recover" in daemon.log())
    assert daemon.end() == 0
    assert daemon.card()["clean"] is True
