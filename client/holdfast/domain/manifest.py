"""The manifest of a materialized context: the files written, and the record from which each was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from holdfast.domain import own_files

NAME = "manifest.json"
TEXTS = ("constitution.md", "spec.md", "initiative.md")
ATTACHMENTS = "attachments"
LIMIT_BYTES = 64 << 20  # some 200,000 attachments
FORMAT = 1


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: the record from which it was made, that record's version, and the digest and size of the content."""

    kind: str
    id: str
    version: int
    digest: str  # `sha256:` and 64 hexadecimal digits
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a task's context, by their paths relative to the directory."""

    workspace: str
    task_id: str
    files: Mapping[str, ManifestFile]

    def to_json(self) -> bytes:
        """Returns the content of `manifest.json`."""
        about = {"format": FORMAT, "workspace": self.workspace, "task_id": self.task_id}
        files = {path: asdict(file) for path, file in sorted(self.files.items())}
        return json.dumps({**about, "files": files}, indent=2, ensure_ascii=False).encode() + b"\n"


def read_manifest(root: int) -> Manifest | None:
    """Returns the manifest of an open directory; None if there is none, or if it is incomplete or of another format."""
    if (file := own_files.open_file(root, NAME)) is None:
        return None
    with file:
        content = file.read(LIMIT_BYTES + 1)
    try:
        found = json.loads(content) if len(content) <= LIMIT_BYTES else None
        if found is None or found["format"] != FORMAT:
            return None
        files = {path: ManifestFile(**file) for path, file in found["files"].items() if _is_of_a_context(path)}
        return Manifest(found["workspace"], found["task_id"], files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_of_a_context(path: str) -> bool:
    """Whether a context may have a file at the path. Anyone may have edited the manifest, and files that it names are deleted."""
    folder, slash, name = path.partition("/")
    is_attachment = folder == ATTACHMENTS and name not in ("", ".", "..") and "/" not in name
    return b"\0" not in path.encode() and (path in TEXTS or (bool(slash) and is_attachment))
