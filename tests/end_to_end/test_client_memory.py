"""The client puts and gets blobs of any size in constant memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # processes of its own

MIB = 2**20
SIZE_MIB = 64
# Prints the growth of the process's peak memory (VmHWM).
PROGRAM = """
import os, sys
import holdfast

def highest_kib():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1])

with holdfast.connect(sys.argv[1]) as store:
    store.blobs.get(store.blobs.put(os.urandom(2**20)).digest)
    before = highest_kib()
    put = store.blobs.put(sys.argv[2])
    after_put = highest_kib()
    with store.blobs.open(put.digest) as blob, open(sys.argv[2], "rb") as file:
        while chunk := blob.read(2**20):
            assert chunk == file.read(2**20)
        assert not file.read(1)
    print(put.size_bytes, after_put - before, highest_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_a_blob_of_64_mib_is_put_and_read_in_flat_memory(daemon: Any, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        for _ in range(SIZE_MIB):
            file.write(os.urandom(MIB))
    command = [sys.executable, "-c", PROGRAM, str(daemon.socket_path), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    size, after_put, after_all = map(int, done.stdout.split())
    assert size == SIZE_MIB * MIB
    assert after_put < 24 * 1024, f"{after_put} KiB more after put"
    assert after_all < 32 * 1024, f"{after_all} KiB more after open"
