"""Writes the context of a task as files: the constitution, the spec, the initiative's decisions, the attachments."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.blobs.collection import Blobs
from holdfast.domain import own_files, staging
from holdfast.domain.attachments import TYPE as ATTACHMENT
from holdfast.domain.manifest import ATTACHMENTS, Manifest, ManifestFile, read_manifest
from holdfast.domain.specs import PHASE as SPEC
from holdfast.domain.tasks import Tasks
from holdfast.records.artifacts import Artifacts
from holdfast.records.scans import scan
from holdfast.v1 import record_pb2
from holdfast.values import views
from holdfast.values.filters import equal
from holdfast.wire.pages import Gaps, raise_unreadable
from holdfast.wire.scope import Scope


class _Source(Protocol):
    """The fields that every record has."""

    id: str
    version: int

    @property
    def update_time(self) -> Timestamp: ...


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file to write: its entry in the manifest, and a function that opens its content."""

    file: ManifestFile
    open: Callable[[], BinaryIO]


class TaskContexts:
    """The contexts of one workspace's tasks. Thread-safe; processes that write one directory take turns."""

    def __init__(self, scope: Scope, tasks: Tasks, artifacts: Artifacts) -> None:
        self._scope = scope
        self._tasks = tasks
        self._artifacts = artifacts

    def materialize(self, task_id: str, directory: str | os.PathLike[str], /) -> Manifest:
        """Writes a task's context into a directory, which is created if it is missing, and returns the manifest.

        The files are `constitution.md`, `spec.md`, `initiative.md`, `attachments/…` and `manifest.json`, as of one revision; a
        file whose record does not exist is left out. All content is fetched before the first file is replaced, each file is
        replaced atomically, and the manifest is replaced last: if fetching fails, the files are unchanged, and if the process
        dies between two files, `needs_materialization` is true. Files that only an earlier manifest names are deleted; other
        files stay. A file that has its content already is not written again. Symbolic links are not followed: a link in the place
        of a file is replaced, and FailedPrecondition is raised if the directory or `attachments` is one. Links in the path that
        leads to the directory are followed.
        Raises NotFound when the task does not exist, FailedPrecondition, OSError; DataLoss, before it changes a file, when a
        record or a content of the context is damaged.
        """
        plan = self._plan(task_id)
        manifest = self._manifest(task_id, plan)
        root = Path(directory)
        root.mkdir(parents=True, exist_ok=True)
        with staging.Staging(root) as staged:
            earlier = read_manifest(staged.root)
            for path, planned in plan.items():
                if not _is_there(staged.root, path, planned.file):
                    staged.add(path, planned.open())
            gone = [path for path in (earlier.files if earlier else {}) if path not in plan]
            if earlier != manifest or staged or gone:
                staged.put(gone, manifest)
        return manifest

    def needs_materialization(self, task_id: str, directory: str | os.PathLike[str], /) -> bool:
        """Whether the manifest or a file in the directory differs from the task's present context.

        Raises NotFound when the task does not exist, FailedPrecondition when the directory is a symbolic link, DataLoss when a
        record of the context is damaged.
        """
        plan = self._plan(task_id)
        try:
            with own_files.opened(Path(directory)) as root:
                is_current = read_manifest(root) == self._manifest(task_id, plan)
                return not (is_current and all(_is_there(root, path, planned.file) for path, planned in plan.items()))
        except (FileNotFoundError, NotADirectoryError):
            return True

    def _manifest(self, task_id: str, plan: Mapping[str, _Planned]) -> Manifest:
        return Manifest(self._scope.workspace, task_id, {path: planned.file for path, planned in plan.items()})

    def _plan(self, task_id: str) -> dict[str, _Planned]:
        """The files of the context by their paths, as of one revision. Does not fetch attachments."""
        constitutions, specs, attachments, initiatives = self._read(task_id)
        plan: dict[str, _Planned] = {}
        for rules in constitutions:
            plan["constitution.md"] = _text("constitution", rules.constitution, rules.constitution.content)
        for spec in sorted((each.phase_output for each in specs), key=_when):
            plan["spec.md"] = self._spec(spec)
        for group in initiatives:
            plan["initiative.md"] = _text("initiative", group.initiative, initiative_text(group.initiative))
        for artifact in sorted((each.artifact for each in attachments), key=lambda each: (each.name, _when(each))):
            plan[f"{ATTACHMENTS}/{file_name(artifact.name)}"] = self._attachment(artifact)
        return plan

    def _read(self, task_id: str) -> list[list[record_pb2.Record]]:
        """Constitution, specs, attachments and initiative of a task, as of one revision. Raises DataLoss for a damaged one."""
        task: views.Task | record_pb2.Task = self._tasks.get(task_id)
        while True:
            asked = [
                ("task", equal(id=task_id)),
                ("constitution", ""),
                ("phase_output", equal(task_id=task_id, phase=SPEC)),
                ("artifact", equal(task_id=task_id, type=ATTACHMENT)),
            ]
            if task.initiative_id:
                asked.append(("initiative", equal(id=task.initiative_id)))
            tasks, *found = scan(self._scope, *asked, gaps=Gaps(raise_unreadable))
            now = tasks[0].task if tasks else self._tasks.get(task_id)
            if tasks and now.initiative_id == task.initiative_id:
                return found if task.initiative_id else [*found, []]
            task = now

    def _spec(self, spec: record_pb2.PhaseOutput) -> _Planned:
        if not spec.content_digest:
            return _text("phase_output", spec, spec.content)
        file = ManifestFile("phase_output", spec.id, spec.version, spec.content_digest, spec.content_size_bytes)
        return _Planned(file, lambda: Blobs(self._scope.connection).open(spec.content_digest))

    def _attachment(self, artifact: record_pb2.Artifact) -> _Planned:
        if not artifact.content_digest:
            return _text("artifact", artifact, "")
        size = artifact.content_size_bytes
        file = ManifestFile("artifact", artifact.id, artifact.version, artifact.content_digest, size)
        return _Planned(file, lambda: self._artifacts.open(artifact))


def _when(record: _Source) -> tuple[int, str]:
    """The sort key of records that would be written to the same file: the one written last is used."""
    return record.update_time.ToNanoseconds(), record.id


def _text(kind: str, record: _Source, text: str) -> _Planned:
    content = text.encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return _Planned(ManifestFile(kind, record.id, record.version, digest, len(content)), lambda: staging.file_of(content))


def _is_there(root: int, path: str, file: ManifestFile) -> bool:
    """Whether the file exists and has this content."""
    if (found := own_files.open_file(root, path)) is None:
        return False
    with found:
        if os.fstat(found.fileno()).st_size != file.size_bytes:
            return False
        return f"sha256:{hashlib.file_digest(found, 'sha256').hexdigest()}" == file.digest


def initiative_text(initiative: record_pb2.Initiative) -> str:
    """Returns an initiative as Markdown: its title, its vision, and its decisions in order."""
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
    """Returns a file name for an attachment's name: unique, without slashes, and equal to the name in most cases."""
    safe = name.replace("%", "%25").replace("/", "%2F")
    if safe in (".", ".."):
        safe = safe.replace(".", "%2E")
    if len(safe.encode()) <= 200:
        return safe
    return f"{safe.encode()[:120].decode(errors='ignore')}%{hashlib.sha256(name.encode()).hexdigest()}"
