"""The manifest of a materialized context: the files written, and the record from which each was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

NAME = "manifest.json"
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


def read_manifest(directory: Path) -> Manifest | None:
    """Returns the manifest of a directory; None if there is none, or if it is incomplete or of another format."""
    try:
        found = json.loads((directory / NAME).read_bytes())
        if found["format"] != FORMAT:
            return None
        files = {path: ManifestFile(**file) for path, file in found["files"].items() if _is_inside(path)}
        return Manifest(found["workspace"], found["task_id"], files)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_inside(path: str) -> bool:
    """Whether a path stays within its directory. Files that a manifest names may be deleted, and anyone may have edited it."""
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts
