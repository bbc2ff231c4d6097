"""Fixtures of the end-to-end tests: daemons that are killed at the end of the test, streams, and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import holdfast
from holdfast.cli import main
from tests.end_to_end.command_line import Ran, Run
from tests.end_to_end.daemons import SERVING, DaemonProcess, Directory, connect, new_directory


@pytest.fixture
def directory() -> Iterator[Directory]:
    with new_directory() as made:
        yield made


@pytest.fixture
def watching() -> Iterator[Callable[[DaemonProcess], Any]]:
    """Opens streams that end only with their daemon."""
    channels = []

    def watch(daemon: DaemonProcess) -> Any:
        channel = connect(daemon.socket)
        channels.append(channel)
        stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(stream).status == SERVING
        return stream

    yield watch
    for each in channels:
        each.close()


@pytest.fixture
def run(daemon: Any, store: holdfast.Store, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command line against the shared daemon, in the workspace of `store`."""

    def call(*arguments: str) -> Ran:
        code = main(["--socket", str(daemon.socket_path), "--workspace", store.workspace, *arguments])
        out, err = capsysbinary.readouterr()
        return Ran(code, out, err.decode())

    return call
