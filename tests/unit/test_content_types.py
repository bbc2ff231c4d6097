"""Content types come from our own table and never from the machine's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.contract.content_types import content_type_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("build.log", "text/plain"),
        ("events.jsonl", "application/jsonl"),
        ("a/b/config.YAML", "application/yaml"),
        ("config.yml", "application/yaml"),
        ("pyproject.toml", "application/toml"),
        ("login.diff", "text/x-diff"),
        ("0001-fix.patch", "text/x-diff"),
        ("README.md", "text/markdown"),
        ("README", "text/plain"),
        ("Makefile", "text/plain"),
        ("notes.txt", "text/plain"),
        ("a.json", "application/json"),
        ("a.py", "text/x-python"),
        ("video.ts", "text/x-typescript"),
        ("App.tsx", "text/x-typescript"),
        ("main.go", "text/x-go"),
        ("lib.rs", "text/x-rust"),
        ("run.sh", "text/x-shellscript"),
        ("0001.sql", "application/sql"),
        ("a.csv", "text/csv"),
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("shot.png", "image/png"),
        ("logs.tar.gz", "application/gzip"),
        ("a.mov", "video/quicktime"),
        ("no-suffix", None),
        ("a.unheard-of", None),
        ("", None),
    ],
)
def test_the_name_decides(name: str, expected: str | None) -> None:
    assert content_type_of(name) == expected


def test_the_machines_mime_types_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "mime.types").write_text("application/x-odd  log diff heard-of\n")
    text = f"""
import mimetypes
mimetypes.knownfiles = [{str(tmp_path / "mime.types")!r}]
assert mimetypes.guess_type("a.log")[0] == "application/x-odd"
from holdfast.contract.content_types import content_type_of
assert content_type_of("a.log") == "text/plain" and content_type_of("a.diff") == "text/x-diff"
assert content_type_of("a.heard-of") is None
"""
    subprocess.run([sys.executable, "-c", text], check=True, timeout=30)
