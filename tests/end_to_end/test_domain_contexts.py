"""Contexts as files: their contents, that they are replaced atomically, and when they must be written again."""

from __future__ import annotations

import datetime
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.domain.staging import PREFIX
from tests.conftest import DaemonProcess

# Materializes a context, and kills itself in the nth call of a function of `os` or `shutil`.
DYING = """
import os, shutil, signal, sys, holdfast
socket, workspace, task_id, directory, module, name, last = sys.argv[1:]
owner, calls = {"os": os, "shutil": shutil}[module], []
true = getattr(owner, name)
def dying(*arguments, **options):
    calls.append(arguments)
    if len(calls) == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    return true(*arguments, **options)
setattr(owner, name, dying)
with holdfast.connect(socket, workspace=workspace) as store:
    store.contexts.materialize(task_id, directory)
"""


@pytest.fixture
def task_id(store: holdfast.Store) -> str:
    initiative = store.initiatives.create(title="Logins", vision="One login for all.")
    when = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    store.initiatives.decide(initiative.id, decision="Use OAuth", rationale="Others do.", actor="kim", time=when)
    store.constitution.save(content="Be kind.\n")
    task = store.tasks.create(title="t", initiative_id=initiative.id)
    store.specs.save(task.id, "# Spec\n")
    store.attachments.save(task.id, "shot.png", b"\x89PNG" * 1000)
    store.attachments.save(task.id, "../../etc/passwd", b"no path")
    return str(task.id)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "task" / "context"


def files(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_context_is_written_as_files(store: holdfast.Store, task_id: str, directory: Path) -> None:
    assert store.contexts.needs_materialization(task_id, directory)
    manifest = store.contexts.materialize(task_id, directory)
    assert not store.contexts.needs_materialization(task_id, directory)
    found = files(directory)
    assert json.loads(found.pop("manifest.json"))["files"].keys() == manifest.files.keys() == found.keys()
    assert found == {
        "constitution.md": b"Be kind.\n",
        "spec.md": b"# Spec\n",
        "initiative.md": b"# Logins\n\nOne login for all.\n\n## Decisions\n\n- Use OAuth (kim, 2026-03-01)\n  Others do.\n",
        "attachments/shot.png": b"\x89PNG" * 1000,
        "attachments/..%2F..%2Fetc%2Fpasswd": b"no path",
    }
    assert manifest.files["attachments/shot.png"].digest == store.attachments.get(task_id, "shot.png").content_digest
    assert (manifest.files["spec.md"].id, manifest.files["spec.md"].version) == (f"spec/{task_id}", 1)


def test_a_task_without_anything_has_an_empty_context(store: holdfast.Store, directory: Path) -> None:
    task = store.tasks.create(title="bare")
    assert store.contexts.materialize(task.id, directory).files == {}
    assert list(files(directory)) == ["manifest.json"] and not store.contexts.needs_materialization(task.id, directory)
    with pytest.raises(holdfast.NotFound):
        store.contexts.materialize("TASK-999", directory / "none")
    assert not (directory / "none").exists()


def test_writing_again_writes_only_files_that_differ(store: holdfast.Store, task_id: str, directory: Path) -> None:
    store.contexts.materialize(task_id, directory)
    (directory / "notes.txt").write_text("my own")
    before = {path: path.stat().st_ino for path in directory.rglob("*") if path.is_file()}
    store.contexts.materialize(task_id, directory)
    assert {path: path.stat().st_ino for path in directory.rglob("*") if path.is_file()} == before
    store.specs.save(task_id, "# Spec 2\n")
    store.contexts.materialize(task_id, directory)
    changed = {path.name for path, inode in before.items() if path.stat().st_ino != inode}
    assert changed == {"spec.md", "manifest.json"} and (directory / "notes.txt").read_text() == "my own"


CHANGES: dict[str, Callable[[holdfast.Store, str], Any]] = {
    "constitution": lambda store, task_id: store.constitution.save(content="Be quick."),
    "no constitution": lambda store, task_id: store.constitution.delete(),
    "spec": lambda store, task_id: store.specs.save(task_id, "# Other"),
    "decision": lambda store, task_id: store.initiatives.decide("INIT-001", decision="And passkeys"),
    "no initiative": lambda store, task_id: store.tasks.update(task_id, initiative_id=None),
    "attachment": lambda store, task_id: store.attachments.save(task_id, "shot.png", b"other"),
    "another attachment": lambda store, task_id: store.attachments.save(task_id, "new.txt", b"new"),
    "no attachment": lambda store, task_id: store.attachments.delete(task_id, "shot.png"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_changed_in_the_store_is_noticed(store: holdfast.Store, task_id: str, directory: Path, change: Any) -> None:
    store.contexts.materialize(task_id, directory)
    change(store, task_id)
    assert store.contexts.needs_materialization(task_id, directory)
    manifest = store.contexts.materialize(task_id, directory)
    assert set(files(directory)) == {*manifest.files, "manifest.json"}
    assert not store.contexts.needs_materialization(task_id, directory)


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"S", b"s"))


@pytest.mark.parametrize("harm", [edit, Path.unlink], ids=["edited", "removed"])
@pytest.mark.parametrize("name", ["spec.md", "manifest.json"])
def test_what_changed_in_the_directory_is_mended(
    store: holdfast.Store, task_id: str, directory: Path, harm: Callable[[Path], None], name: str
) -> None:
    store.contexts.materialize(task_id, directory)
    if name == "manifest.json" and harm is edit:
        (directory / name).write_text('{"format": 1, "files": {"../outside": 5}}')
    else:
        harm(directory / name)
    whole = store.contexts.needs_materialization(task_id, directory)
    store.contexts.materialize(task_id, directory)
    assert whole and not store.contexts.needs_materialization(task_id, directory)
    assert (directory / "spec.md").read_bytes() == b"# Spec\n"


def test_a_manifest_cannot_have_files_outside_removed(store: holdfast.Store, task_id: str, directory: Path) -> None:
    manifest = store.contexts.materialize(task_id, directory)
    outside = directory.parent / "outside"
    outside.write_text("precious")
    text = json.loads((directory / "manifest.json").read_bytes())
    text["files"]["../outside"] = text["files"][str(outside)] = text["files"]["spec.md"]
    (directory / "manifest.json").write_text(json.dumps(text))
    assert store.contexts.materialize(task_id, directory) == manifest and outside.read_text() == "precious"


def test_a_write_that_fails_changes_nothing(
    store: holdfast.Store, task_id: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.contexts.materialize(task_id, directory)
    before = files(directory)
    store.constitution.save(content="Be quick.")
    store.attachments.save(task_id, "shot.png", b"new" * 1000)
    true = shutil.copyfileobj

    def failing(source: Any, target: Any, length: int = 0) -> None:
        true(source, target, length)
        target.flush()
        if b"new" in Path(target.name).read_bytes():
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(shutil, "copyfileobj", failing)
        store.contexts.materialize(task_id, directory)
    assert files(directory) == before and store.contexts.needs_materialization(task_id, directory)
    store.contexts.materialize(task_id, directory)
    assert files(directory)["attachments/shot.png"] == b"new" * 1000


# Three files and the manifest are written as temporary files and then renamed one by one.
@pytest.mark.parametrize(
    ("call", "replaced"),
    [(("shutil", "copyfileobj", 4), 0), (("os", "replace", 1), 0), (("os", "replace", 3), 2), (("os", "replace", 4), 3)],
    ids=["before the first", "at the first", "in between", "before the manifest"],
)
def test_a_death_in_between_leaves_whole_files_and_is_noticed(
    daemon: DaemonProcess, store: holdfast.Store, task_id: str, directory: Path, call: tuple[str, str, int], replaced: int
) -> None:
    store.contexts.materialize(task_id, directory)
    before = files(directory)
    store.constitution.save(content="Be quick.")
    store.specs.save(task_id, "# Other spec")
    store.attachments.save(task_id, "shot.png", b"new")
    arguments = [str(daemon.socket_path), store.workspace, task_id, str(directory), *map(str, call)]
    died = subprocess.run([sys.executable, "-c", DYING, *arguments], check=False, timeout=30)
    assert died.returncode == -signal.SIGKILL
    left = {path: content for path, content in files(directory).items() if not path.startswith(".")}
    new = {"constitution.md": b"Be quick.", "spec.md": b"# Other spec", "attachments/shot.png": b"new"}
    assert set(left) == set(before) and left["manifest.json"] == before["manifest.json"]
    assert all(content in (before[path], new.get(path)) for path, content in left.items())
    assert sum(left[path] == content for path, content in new.items()) == replaced
    assert store.contexts.needs_materialization(task_id, directory)
    manifest = store.contexts.materialize(task_id, directory)
    found = files(directory)
    assert set(found) == {*manifest.files, "manifest.json"}, "temporary files of the killed process must be gone"
    assert {path: found[path] for path in new} == new


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory outside the context, with files of the names that a context has."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("spec.md", "shot.png", "gone.txt"):
        (elsewhere / name).write_text("precious")
    return elsewhere


def untouched(elsewhere: Path) -> bool:
    return files(elsewhere) == dict.fromkeys(("spec.md", "shot.png", "gone.txt"), b"precious")


def test_a_link_in_the_place_of_a_file_is_replaced(store: holdfast.Store, task_id: str, directory: Path, elsewhere: Path) -> None:
    manifest = store.contexts.materialize(task_id, directory)
    content = (directory / "spec.md").read_bytes()
    (elsewhere / "spec.md").write_bytes(content)
    (directory / "spec.md").unlink()
    (directory / "spec.md").symlink_to(elsewhere / "spec.md")
    assert store.contexts.needs_materialization(task_id, directory), "the content behind a link does not count"
    assert store.contexts.materialize(task_id, directory) == manifest
    assert not (directory / "spec.md").is_symlink() and (directory / "spec.md").read_bytes() == content
    assert (elsewhere / "spec.md").read_bytes() == content


@pytest.mark.parametrize("change", ["none", "another", "fewer"])
def test_a_directory_behind_a_link_is_not_written(
    store: holdfast.Store, task_id: str, directory: Path, elsewhere: Path, change: str
) -> None:
    store.attachments.save(task_id, "gone.txt", b"x")
    store.contexts.materialize(task_id, directory)
    before = (directory / "manifest.json").read_bytes()
    shutil.rmtree(directory / "attachments")
    (directory / "attachments").symlink_to(elsewhere)
    if change == "another":
        store.attachments.save(task_id, "shot.png", b"other")
    elif change == "fewer":
        store.attachments.delete(task_id, "gone.txt")
    assert store.contexts.needs_materialization(task_id, directory)
    with pytest.raises(holdfast.FailedPrecondition, match="attachments is a symbolic link"):
        store.contexts.materialize(task_id, directory)
    assert untouched(elsewhere) and (directory / "manifest.json").read_bytes() == before


def test_files_behind_a_link_are_not_deleted(store: holdfast.Store, directory: Path, elsewhere: Path) -> None:
    task = store.tasks.create(title="t")
    store.attachments.save(task.id, "gone.txt", b"x")
    store.contexts.materialize(task.id, directory)
    shutil.rmtree(directory / "attachments")
    (directory / "attachments").symlink_to(elsewhere)
    store.attachments.delete(task.id, "gone.txt")
    assert store.contexts.materialize(task.id, directory).files == {}
    assert untouched(elsewhere)


def test_a_link_in_the_place_of_a_file_to_delete_is_deleted_itself(
    store: holdfast.Store, task_id: str, directory: Path, elsewhere: Path
) -> None:
    store.attachments.save(task_id, "gone.txt", b"x")
    store.contexts.materialize(task_id, directory)
    (directory / "attachments" / "gone.txt").unlink()
    (directory / "attachments" / "gone.txt").symlink_to(elsewhere / "gone.txt")
    store.attachments.delete(task_id, "gone.txt")
    store.contexts.materialize(task_id, directory)
    assert untouched(elsewhere) and not (directory / "attachments" / "gone.txt").is_symlink()


def test_the_directory_itself_may_not_be_a_link(store: holdfast.Store, task_id: str, tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "link").symlink_to(elsewhere)
    for work in (store.contexts.materialize, store.contexts.needs_materialization):
        with pytest.raises(holdfast.FailedPrecondition, match="link is a symbolic link"):
            work(task_id, tmp_path / "link")
    assert untouched(elsewhere)
    store.contexts.materialize(task_id, tmp_path / "link" / "below")
    assert (elsewhere / "below" / "spec.md").exists(), "links that lead to the directory are the caller's"


def test_left_temporary_directories_behind_links_are_left_alone(
    store: holdfast.Store, task_id: str, directory: Path, elsewhere: Path
) -> None:
    directory.mkdir(parents=True)
    (directory / f"{PREFIX}left").symlink_to(elsewhere)
    (directory / f"{PREFIX}dead").mkdir()
    (directory / f"{PREFIX}dead" / "0").symlink_to(elsewhere / "spec.md")
    store.contexts.materialize(task_id, directory)
    assert untouched(elsewhere) and not (directory / f"{PREFIX}dead").exists()


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"\xff", b'{"format": 1, "files": {"a\\u0000b": {}}}', b"[]"],
    ids=["nested deeply", "not UTF-8", "NUL", "list"],
)
def test_a_manifest_of_any_content_is_replaced(store: holdfast.Store, task_id: str, directory: Path, content: bytes) -> None:
    manifest = store.contexts.materialize(task_id, directory)
    before = (directory / "manifest.json").read_bytes()
    (directory / "manifest.json").write_bytes(content)
    assert store.contexts.materialize(task_id, directory) == manifest
    assert (directory / "manifest.json").read_bytes() == before
    (directory / "manifest.json").unlink()
    os.mkfifo(directory / "manifest.json")
    assert store.contexts.needs_materialization(task_id, directory), "reading a FIFO must not block"


def test_a_manifest_can_only_have_files_of_a_context_deleted(store: holdfast.Store, task_id: str, directory: Path) -> None:
    store.contexts.materialize(task_id, directory)
    others = ("main.py", "attachments/below/file", ".git/config")
    text = json.loads((directory / "manifest.json").read_bytes())
    for name in others:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("precious")
        text["files"][name] = text["files"]["spec.md"]
    (directory / "manifest.json").write_text(json.dumps(text))
    store.contexts.materialize(task_id, directory)
    assert all((directory / name).read_text() == "precious" for name in others)
