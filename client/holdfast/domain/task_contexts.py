"""What an agent has to know of a task, as files: the constitution, the spec, the initiative's decisions, the attachments."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from holdfast.domain import staging
from holdfast.domain.manifest import Manifest, ManifestFile, read_manifest
from holdfast.errors import NotFound
from holdfast.v1 import record_pb2

if TYPE_CHECKING:
    from holdfast.store import Store

ATTACHMENTS = "attachments"


class _Source(Protocol):
    """What every record tells of itself."""

    id: str
    version: int


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file to write: what the manifest says of it, and its content."""

    file: ManifestFile
    open: Callable[[], BinaryIO]


class TaskContexts:
    """The contexts of one workspace's tasks. Safe in threads; processes that write one directory take turns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def materialize(self, task_id: str, directory: str | os.PathLike[str], /) -> Manifest:
        """Writes a task's context into a directory, which is made when it is missing, and returns the manifest.

        The files are `constitution.md`, `spec.md`, `initiative.md`, `attachments/…` and `manifest.json`; those that have
        nothing to say are left out. All content is fetched before the first file is replaced, each file is replaced whole,
        and the manifest comes last: after a failure the files are as they were, and a process that dies between two of them
        leaves `needs_materialization` true. What an earlier manifest names and is no more goes; other files stay.
        What is as it should be is not written again. Raises NotFound without such a task, DataLoss, OSError.
        """
        plan = self._plan(task_id)
        manifest = self._manifest(task_id, plan)
        root = Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        with staging.Staging(root) as staged:
            earlier = read_manifest(root)
            for path, planned in plan.items():
                if not _is_there(root / path, planned.file):
                    staged.add(path, planned.open())
            gone = [path for path in (earlier.files if earlier else {}) if path not in plan]
            if earlier != manifest or staged or gone:
                staged.put(gone, manifest)
        return manifest

    def needs_materialization(self, task_id: str, directory: str | os.PathLike[str], /) -> bool:
        """Whether the directory holds anything else than the task's context as it is now. Raises NotFound."""
        plan = self._plan(task_id)
        root = Path(directory)
        if read_manifest(root) != self._manifest(task_id, plan):
            return True
        return not all(_is_there(root / path, planned.file) for path, planned in plan.items())

    def _manifest(self, task_id: str, plan: Mapping[str, _Planned]) -> Manifest:
        return Manifest(self._store.workspace, task_id, {path: planned.file for path, planned in plan.items()})

    def _plan(self, task_id: str) -> dict[str, _Planned]:
        """The files of the context by their paths. Attachments are not fetched for it."""
        task = self._store.tasks.get(task_id)
        return dict([*self._constitution(), *self._spec(task_id), *self._initiative(task), *self._attachments(task_id)])

    def _constitution(self) -> Iterator[tuple[str, _Planned]]:
        try:
            found = self._store.constitution.get()
        except NotFound:
            return
        yield "constitution.md", _text("constitution", found, found.content)

    def _spec(self, task_id: str) -> Iterator[tuple[str, _Planned]]:
        try:
            found = self._store.specs.get_full(task_id)
        except NotFound:
            return
        yield "spec.md", _text("phase_output", found, found.content)

    def _initiative(self, task: record_pb2.Task) -> Iterator[tuple[str, _Planned]]:
        if not task.initiative_id:
            return
        try:
            found = self._store.initiatives.get(task.initiative_id)
        except NotFound:
            return  # it went after the task was read
        yield "initiative.md", _text("initiative", found, initiative_text(found))

    def _attachments(self, task_id: str) -> Iterator[tuple[str, _Planned]]:
        newest: dict[str, record_pb2.Artifact] = {}
        for each in self._store.attachments.list(task_id):
            before = newest.get(each.name)
            if before is None or before.update_time.ToNanoseconds() < each.update_time.ToNanoseconds():
                newest[each.name] = each
        for name, artifact in newest.items():
            yield f"{ATTACHMENTS}/{file_name(name)}", self._attachment(artifact)

    def _attachment(self, artifact: record_pb2.Artifact) -> _Planned:
        if not artifact.content_digest:
            return _text("artifact", artifact, "")
        size = artifact.content_size_bytes
        file = ManifestFile("artifact", artifact.id, artifact.version, artifact.content_digest, size)
        return _Planned(file, lambda: self._store.artifacts.open(artifact))


def _text(kind: str, record: _Source, text: str) -> _Planned:
    content = text.encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return _Planned(ManifestFile(kind, record.id, record.version, digest, len(content)), lambda: staging.file_of(content))


def _is_there(path: Path, file: ManifestFile) -> bool:
    """Whether the file has the content that it should have."""
    try:
        if path.is_symlink() or path.stat().st_size != file.size_bytes:
            return False
        with path.open("rb") as content:
            return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}" == file.digest
    except OSError:
        return False


def initiative_text(initiative: record_pb2.Initiative) -> str:
    """An initiative as Markdown: its title, its vision, and what was decided, in order."""
    parts = [f"# {initiative.title}\n"]
    parts += [f"{initiative.vision}\n"] if initiative.vision else []
    parts += ["## Decisions\n"] if initiative.decisions else []
    return "\n".join([*parts, *map(_decision_text, initiative.decisions)])


def _decision_text(decision: record_pb2.Decision) -> str:
    day = decision.time.ToDatetime().date().isoformat() if decision.HasField("time") else ""
    about = ", ".join(each for each in (decision.actor, day) if each)
    head = f"- {decision.decision}" + (f" ({about})" if about else "")
    return f"{head}\n  {decision.rationale}\n" if decision.rationale else f"{head}\n"


def file_name(name: str) -> str:
    """An attachment's name as a file's: the same for most, and never a path; two names never become one."""
    safe = name.replace("%", "%25").replace("/", "%2F")
    if safe in (".", ".."):
        safe = safe.replace(".", "%2E")
    if len(safe.encode()) <= 200:
        return safe
    return f"{safe.encode()[:120].decode(errors='ignore')}%{hashlib.sha256(name.encode()).hexdigest()}"
