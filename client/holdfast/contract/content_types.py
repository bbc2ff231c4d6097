"""Guesses a content type from a file's name: the same on every machine, because no file of the machine is read.

The table comes first; it has the types that agents produce. Python's built-in table, without the machine's `mime.types`, knows
the rarer ones.
"""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import PurePosixPath

PLAIN = "text/plain"

_BY_SUFFIX = {
    suffix: content_type
    for content_type, suffixes in {
        PLAIN: ".txt .text .log .out .err .cfg .conf .ini .env .lock .properties",
        "text/markdown": ".md .markdown",
        "text/x-rst": ".rst",
        "text/x-diff": ".diff .patch",
        "text/html": ".html .htm",
        "text/css": ".css .scss .less",
        "text/csv": ".csv",
        "text/tab-separated-values": ".tsv",
        "text/javascript": ".js .mjs .cjs .jsx",
        "text/x-typescript": ".ts .tsx .mts .cts",
        "text/x-python": ".py .pyi",
        "text/x-go": ".go",
        "text/x-rust": ".rs",
        "text/x-c": ".c .h",
        "text/x-c++": ".cc .cpp .cxx .hh .hpp",
        "text/x-csharp": ".cs",
        "text/x-java": ".java",
        "text/x-kotlin": ".kt .kts",
        "text/x-swift": ".swift",
        "text/x-ruby": ".rb",
        "text/x-php": ".php",
        "text/x-lua": ".lua",
        "text/x-perl": ".pl .pm",
        "text/x-scala": ".scala",
        "text/x-protobuf": ".proto",
        "text/x-shellscript": ".sh .bash .zsh .fish",
        "application/sql": ".sql",
        "application/json": ".json .ipynb .map",
        "application/jsonl": ".jsonl .ndjson",
        "application/yaml": ".yaml .yml",
        "application/toml": ".toml",
        "application/xml": ".xml .xsd .xsl",
        "application/pdf": ".pdf",
        "application/zip": ".zip .whl",
        "application/gzip": ".gz .tgz",
        "application/zstd": ".zst",
        "application/x-bzip2": ".bz2",
        "application/x-xz": ".xz",
        "application/x-tar": ".tar",
        "application/wasm": ".wasm",
        "application/vnd.sqlite3": ".db .sqlite .sqlite3",
        "image/svg+xml": ".svg",
        "image/png": ".png",
        "image/jpeg": ".jpg .jpeg",
        "image/gif": ".gif",
        "image/webp": ".webp",
        "image/avif": ".avif",
        "image/vnd.microsoft.icon": ".ico",
        "video/mp4": ".mp4",
        "video/webm": ".webm",
        "audio/mpeg": ".mp3",
        "audio/wav": ".wav",
        "font/woff2": ".woff2",
    }.items()
    for suffix in suffixes.split()
}
_BY_NAME = dict.fromkeys(
    ("dockerfile", "makefile", "license", "readme", "changelog", ".gitignore", ".env", ".editorconfig"), PLAIN
)


def content_type_of(name: str) -> str | None:
    """Returns the content type of a file of this name or path; None if it is not known. The last suffix decides."""
    last = PurePosixPath(name).name.lower()
    suffix = PurePosixPath(last).suffix
    return _BY_SUFFIX.get(suffix) or _BY_NAME.get(last) or _rarer().get(suffix)


@cache
def _rarer() -> dict[str, str]:
    """Python's own types by suffix. `mimetypes.guess_type` would also have those of the machine's files."""
    return mimetypes.MimeTypes().types_map[True]
