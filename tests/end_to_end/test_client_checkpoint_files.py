"""Contexts from files: `checkpoints.save(context=<open file or path>)` and `checkpoints.open` take constant memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from tests.end_to_end.daemons import Directory

LARGE_BYTES = 500 << 20
MOST_BYTES = 64 << 20

STREAMS = """
import resource, sys, pathlib, holdfast

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

with holdfast.connect(sys.argv[1]) as store:
    store.sessions.create(id="S", title="s")
    store.checkpoints.save("S", context=b"a small one")
    before = peak_bytes()
    saved = store.checkpoints.save("S", context=pathlib.Path(sys.argv[2]))
    with open(sys.argv[2], "rb") as file:
        assert store.checkpoints.save("S", context=file).context_digest == saved.context_digest
    read = 0
    with store.checkpoints.open(saved.id) as context:
        while chunk := context.read(1 << 20):
            read += len(chunk)
    assert read == saved.context_size_bytes
    print(read, peak_bytes() - before)
"""


def test_a_context_comes_from_an_open_file_or_a_path(store: holdfast.Store, tmp_path: Path) -> None:
    session = store.sessions.create(title="s").id
    path = tmp_path / "context.bin"
    path.write_bytes(content := os.urandom(3 << 20))
    by_path = store.checkpoints.save(session, context=path)
    with path.open("rb") as file:
        file.seek(1000)
        by_file = store.checkpoints.save(session, context=file)
    assert (by_path.load(), by_path.context_size_bytes) == (content, len(content))
    assert by_file.load() == content[1000:]
    assert (by_file.parent_id, by_file.context_type) == (by_path.id, "application/octet-stream")
    assert store.checkpoints.save(session, context=str(path)).load() == str(path)  # a text
    with store.transaction() as tx:
        step = tx.checkpoints.save(session, context=io.BytesIO(b"in a transaction"))
    assert store.checkpoints.load(step.id) == b"in a transaction"
    with path.open() as text, pytest.raises(TypeError, match="open it in binary mode"):
        store.checkpoints.save(session, context=text)
    with pytest.raises(FileNotFoundError):
        store.checkpoints.save(session, context=tmp_path / "none")


def test_a_context_is_read_as_a_seekable_file(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s").id
    saved = store.checkpoints.save(session, context={"a": "ä" * 1000})
    for opened in (saved.open(), store.checkpoints.open(saved.id), store.checkpoints.open(saved.message)):
        with opened as file:
            assert file.read(6) == b'{"a":"'
            assert file.seek(-2, io.SEEK_END) == saved.context_size_bytes - 2
            assert file.read() == b'"}'
    with pytest.raises(holdfast.NotFound):
        store.checkpoints.open("none")


@pytest.mark.slow
def test_500_mb_are_saved_and_read_in_constant_memory(directory: Directory, tmp_path: Path) -> None:
    daemon = directory.serve()
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    done = subprocess.run(
        [sys.executable, "-c", STREAMS, str(daemon.socket), str(path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    read, grown = map(int, done.stdout.split())
    assert read == LARGE_BYTES
    assert grown < MOST_BYTES, f"the client's memory grew by {grown >> 20} MiB"
