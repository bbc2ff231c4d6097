"""The context manager of the first seed: large contexts in files, their metadata in SQLite.

"Hybrid Storage Backend for Context Management": sessions and checkpoint headers are listed, filtered by tags and found by
`latest` without reading contexts; the contexts are compressed files that ordinary tools can read; orphans are swept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import holdfast
from tests.conftest import DaemonProcess
from tests.end_to_end.daemons import Directory, eventually

CONTEXT_BYTES = 1_000_000
PLAIN_FILES = ("--inline-max-bytes", "0", "--delta", "off")


def workflow_context(step: int) -> dict[str, Any]:
    """A typical workflow context of 1 MB: compressible text, different for each step."""
    noise = random.Random(step).randbytes(CONTEXT_BYTES // 2).hex()
    return {"workflow": "bug-investigation", "step": step, "variables": {"files": ["a.py", "b.py"]}, "notes": noise}


def files_below(directory: Path) -> list[Path]:
    return sorted(each for each in directory.rglob("*") if each.is_file() and each.name != "store_id")


def test_checkpoints_of_a_session_are_listed_filtered_and_found(store: holdfast.Store) -> None:
    session = store.sessions.create(title="Find the leak", agent="workrail", tags=["investigation"], metadata={"workflow": "bug"})
    for step in range(1, 5):
        store.checkpoints.save(
            session.id,
            context=workflow_context(step),
            name=f"step {step}",
            tags=["milestone"] if step % 2 == 0 else ["auto"],
            metadata={"step": step},
        )
    listed = list(store.checkpoints.list(session.id))
    assert [(each.number, each.name) for each in listed] == [(number, f"step {number}") for number in range(1, 5)]
    assert all(each.context_size_bytes > CONTEXT_BYTES for each in listed)
    assert [each.name for each in store.checkpoints.list(session.id, tag="milestone")] == ["step 2", "step 4"]
    assert [each.name for each in store.checkpoints.list(session.id, filter="metadata.step >= 3", order_by="number desc")] == [
        "step 4",
        "step 3",
    ]
    assert store.checkpoints.latest(session.id).name == "step 4"
    assert store.checkpoints.latest(session.id, tag="auto").name == "step 3"
    assert store.checkpoints.latest(session.id, tag="auto").load() == workflow_context(3)
    assert [each.id for each in store.sessions.list(filter='tags:"investigation" AND metadata.workflow = "bug"')] == [session.id]


def test_metadata_is_read_without_the_contexts(store: holdfast.Store) -> None:
    """A list sends headers only: a few hundred bytes per checkpoint, whatever the size of the contexts."""
    session = store.sessions.create(title="Many large contexts")
    for step in range(3):
        store.checkpoints.save(session.id, context=workflow_context(step), tags=["large"])
    sizes = [each.message.ByteSize() for each in store.checkpoints.list(session.id)]
    assert len(sizes) == 3 and max(sizes) < 1000


def test_a_context_is_streamed_both_ways(store: holdfast.Store, tmp_path: Path) -> None:
    """ "Efficient streaming of compression/decompression operations": from an open file, and into one."""
    path = tmp_path / "context.json"
    path.write_bytes(json.dumps(workflow_context(1)).encode() * 5)
    session = store.sessions.create(title="Streamed")
    with path.open("rb") as file:
        saved = store.checkpoints.save(session.id, context=file, tags=["milestone"], metadata={"steps": [1, None, {"ü": 2.5}]})
    header = store.checkpoints.get(saved.id)
    assert (header.tags, header.metadata) == (["milestone"], {"steps": [1, None, {"ü": 2.5}]})
    assert header.context_size_bytes == path.stat().st_size
    read = hashlib.sha256()
    with store.checkpoints.open(saved.id) as stream:
        while chunk := stream.read(65_536):
            read.update(chunk)
        stream.seek(100)
        assert stream.read(50) == path.read_bytes()[100:150]
    assert read.digest() == hashlib.sha256(path.read_bytes()).digest()


def test_a_person_reads_a_context_in_any_store(own_daemon: DaemonProcess) -> None:
    """`holdfast cat` prints a context, also one that is in the database or a delta."""
    with holdfast.connect(own_daemon.socket_path) as store:
        session = store.sessions.create(title="To be looked at")
        saved = [store.checkpoints.save(session.id, context={"step": step, "notes": "größer " * step}) for step in (1, 9_000)]
        for each in saved:
            command = [sys.executable, "-m", "holdfast", "cat", "--socket", str(own_daemon.socket_path), each.id]
            done = subprocess.run(command, capture_output=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == each.load()


def test_the_daemon_sweeps_by_itself_and_by_command(directory: Directory) -> None:
    daemon = directory.serve("store", "run/s.sock", *PLAIN_FILES, "--lease", "1", "--sweep-interval", "1")
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="s")
        gone = store.checkpoints.save(session.id, context=workflow_context(1))
        store.checkpoints.delete(gone.id)
        command = [sys.executable, "-m", "holdfast", "sweep", "--socket", str(daemon.socket)]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
        assert eventually(lambda: not store.blobs.exists(gone.context_digest))
    assert files_below(daemon.data_dir / "blobs") == []


def has_ended(data_dir: Path) -> bool:
    """True when no daemon holds the store's lock."""
    with (data_dir / "daemon.json").open() as card:
        try:
            fcntl.flock(card, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_nothing_has_to_be_configured(directory: Directory) -> None:
    """`connect()` without settings starts the user's daemon. The data is still there after the daemon has ended and restarted."""
    home, runtime = directory.path / "home", directory.path / "run"
    data_dir = home / ".local/share/holdfast"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "PERSIST", "XDG_"))}
    environment = kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
    program = (
        "import holdfast, sys, os, signal\n"
        "with holdfast.connect(idle_exit_s=5) as store:\n"
        "    store.checkpoints.save(store.sessions.save(id='ses_mine', title='s').id, context={'run': sys.argv[1]})\n"
        "    print([each.load()['run'] for each in store.checkpoints.list('ses_mine')])\n"
        "    os.kill(store.status().pid, signal.SIGTERM)\n"
    )
    answers = []
    for run in ("1", "2"):
        command = [sys.executable, "-c", program, run]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        answers.append(done.stdout.strip())
        assert eventually(lambda: has_ended(data_dir))
    assert answers == ["['1']", "['1', '2']"]
    assert (data_dir / "holdfast.db").is_file()


def plain_content(path: Path) -> bytes:
    """The decompressed file, by the zstd program if it is installed, otherwise by the zstd library."""
    if path.suffix != ".zst":
        return path.read_bytes()
    if shutil.which("zstd") is None:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
            return reader.read()
    return subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True).stdout


@pytest.mark.parametrize("inline", ["0", "checkpoint=0", "1M,checkpoint=0"])
def test_people_read_the_context_files_with_ordinary_tools(directory: Directory, inline: str) -> None:
    daemon = directory.serve("store", "run/s.sock", "--inline-max-bytes", inline, "--delta", "off")
    saved = {}
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="To be looked at")
        store.tasks.create(id="T-1", title="t")
        inlined = [store.attachments.save("T-1", "a", json.dumps({"small": True}, separators=(",", ":")).encode())]
        inlined += [store.attachments.save("T-1", "b", b"another")] if inline != "0" else []
        assert all(bool(store.blobs.stat(each.content_digest).path) == (inline == "0") for each in inlined)
        for step in range(1, 4):
            context = {"step": step, "notes": "the same words again " * 20_000}
            saved[store.checkpoints.save(session.id, context=context).context_digest] = context
        small = store.checkpoints.save(session.id, context={"small": True})
        saved[small.context_digest] = {"small": True}
        assert small.context_digest == inlined[0].content_digest  # it was in the database before
        hint = [store.blobs.stat(digest).path for digest in saved]
    read = {}
    for path in files_below(daemon.data_dir / "blobs"):
        plain = plain_content(path)
        read["sha256:" + hashlib.sha256(plain).hexdigest()] = json.loads(plain)
    assert read == saved
    assert all(not os.path.isabs(path) and (daemon.data_dir / path).is_file() for path in hint), "rows must hold relative paths"
    assert sum(path.endswith(".zst") for path in hint) >= 3
    assert all(path.stat().st_size < 2000 for path in files_below(daemon.data_dir / "blobs")), "the files must be compressed"


def test_no_half_written_context_is_ever_seen(store: holdfast.Store) -> None:
    """A refused commit leaves no checkpoint, and an aborted upload leaves no blob."""
    with pytest.raises(holdfast.ParentNotFound):
        store.checkpoints.save("ses_nobody", context={"lost": True})
    session = store.sessions.create(title="s")

    class Torn:
        def __init__(self) -> None:
            self.left = 3

        def read(self, size: int = -1, /) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("the disk was pulled out")
            return b"x" * 100_000

    with pytest.raises(OSError, match="pulled out"):
        store.blobs.put(Torn())  # type: ignore[arg-type]
    assert not store.blobs.exists("sha256:" + hashlib.sha256(b"x" * 200_000).hexdigest())
    assert store.checkpoints.count() == 0 and list(store.checkpoints.list(session.id)) == []


def test_orphans_are_found_and_swept(directory: Directory, sound: Callable[[holdfast.Store], None]) -> None:
    """The sweep deletes a blob whose checkpoints were deleted, and a file without a row after a crash; referenced blobs stay."""
    daemon = directory.serve("store", "run/s.sock", *PLAIN_FILES, "--lease", "1")
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="s")
        kept = store.checkpoints.save(session.id, context=workflow_context(1))
        gone = store.checkpoints.save(session.id, context=workflow_context(2), parent="")
        store.checkpoints.delete(gone.id)
        deadline = time.monotonic() + 10
        while store.blobs.exists(gone.context_digest):
            assert time.monotonic() < deadline, "the sweep left an orphan"
            list(store.run_job("sweep"))
            time.sleep(0.1)
        assert kept.load() == workflow_context(1)
    before = files_below(daemon.data_dir / "blobs")
    assert len(before) == 1
    daemon.process.kill()
    daemon.process.wait()
    stray = before[0].parent / f"{'0' * 64}-0123456789abcdef.zst"
    stray.write_bytes(b"left by a dead daemon")
    again = directory.serve("store", "run/s.sock", *PLAIN_FILES)
    with holdfast.connect(again.socket) as store:
        assert store.checkpoints.latest(session.id).load() == workflow_context(1)
        sound(store)
    assert files_below(again.data_dir / "blobs") == before


def test_a_copy_of_a_stopped_store_is_a_backup(directory: Directory, sound: Callable[[holdfast.Store], None]) -> None:
    daemon = directory.serve()
    with holdfast.connect(daemon.socket) as store:
        session = store.sessions.create(title="Copied", tags=["keep"])
        for step in range(3):
            store.checkpoints.save(session.id, context=workflow_context(step), tags=[f"s{step}"])
    assert daemon.end() == 0
    subprocess.run(["cp", "-a", str(daemon.data_dir), str(directory.path / "copy")], check=True)
    copied = directory.serve("copy", "run/copy.sock")
    with holdfast.connect(copied.socket) as store:
        sound(store)
        assert [each.load() for each in store.checkpoints.list(session.id)] == [workflow_context(step) for step in range(3)]
        assert store.checkpoints.latest(session.id, tag="s1").load() == workflow_context(1)
