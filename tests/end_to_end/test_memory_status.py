"""What `status` tells of the memory budget, and calls in progress that are counted in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from holdfast.v1 import admin_service_pb2
from tests.end_to_end.daemons import DaemonProcess, Directory, eventually
from tests.support.api import Api

MIB = 2**20
LIMIT = 256 * MIB
CALLS, CONNECTIONS = 250, 12
ATTEMPTS = 3
UNREAD = 16  # of each connection, at least: the sockets' buffers take the other answers
FROZEN_GETS = """
import grpc, os, signal, sys
from holdfast.v1 import store_service_pb2 as pb, store_service_pb2_grpc
calls = []
for number in range(int(sys.argv[2])):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.max_frame_size", 16384 + number)]
    stub = store_service_pb2_grpc.StoreServiceStub(grpc.insecure_channel("unix:" + sys.argv[1], options))
    stub.Get(pb.StoreServiceGetRequest(workspace="w", kind="session", id="S"), timeout=20)
    calls.append(stub)
calls = [stub.Get.future(pb.StoreServiceGetRequest(workspace="w", kind="session", id="S")) for stub in calls for _ in range(250)]
os.kill(os.getpid(), signal.SIGSTOP)
"""


def status(api: Api) -> Any:
    return api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest(), timeout=10)


def test_status_tells_the_limit_and_what_is_held(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--memory-max-bytes", str(LIMIT))
    with Api(daemon.socket) as api:
        assert status(api).memory_max_bytes == LIMIT
        assert 0 < status(api).memory_held_bytes < MIB  # this call itself


def test_the_command_line_shows_it(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--memory-max-bytes", str(LIMIT))
    command = [sys.executable, "-m", "holdfast", "--socket", str(daemon.socket), "status"]
    plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "of 256.0 MiB for requests and answers" in plain
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert int(found["memory_max_bytes"]) == LIMIT
    assert int(found["memory_held_bytes"]) > 0


def test_unread_small_answers_are_counted_over_all_connections(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", "--memory-max-bytes", str(LIMIT))
    with Api(daemon.socket, workspace="w") as api, ExitStack() as exits:
        api.insert("session", id="S", title="x" * 3_000)
        for _ in range(ATTEMPTS):  # on a busy machine the child may stop before its calls were sent
            freeze(exits, daemon)
            if eventually(lambda: status(api).memory_held_bytes > CONNECTIONS * UNREAD * 16 * 2**10):
                break
            exits.close()
        else:
            pytest.fail("the unread answers are not counted")
        exits.close()
        assert eventually(lambda: status(api).memory_held_bytes < MIB)


def freeze(exits: ExitStack, daemon: DaemonProcess) -> None:
    child = subprocess.Popen([sys.executable, "-c", FROZEN_GETS, str(daemon.socket), str(CONNECTIONS)])
    exits.callback(child.wait)
    exits.callback(child.kill)
    _, code = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WSTOPSIG(code) == signal.SIGSTOP
