"""A badly damaged store: verify reports every problem, in frames that any gRPC client takes."""

from __future__ import annotations

from pathlib import Path

from holdfast.v1 import admin_service_pb2 as pb
from tests.support.api import insert
from tests.support.engine import Engine
from tests.support.in_process import DirectApi

TASKS = 901  # a check stops after 1,000 problems


def test_many_problems_come_in_several_frames(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    try:
        api = DirectApi(engine)
        for _ in range(3):
            api.commit(*[insert("task", title="t") for _ in range(TASKS // 3 + 1)])
        engine.connection.execute("UPDATE task SET checksum = checksum + 1")
        frames = list(api.admin.Verify(pb.AdminServiceVerifyRequest()))
    finally:
        engine.close()
    found = [problem.subject for frame in frames for problem in frame.problems]
    assert len(set(found)) >= TASKS
    assert max(len(frame.problems) for frame in frames) == 500
    assert frames[-1].counts["problems"] == len(found)
