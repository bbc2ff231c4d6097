"""The file system of the power-cut tier: each change is passed on as one record, and ledgers are not on the disk under test."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.powerfail.records import ROOT, Began, Linked, Made, Noted, Record, Removed, Renamed, Truncated, Written
from tests.powerfail.tree import LEDGERS, Tree

FILE, DIRECTORY = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700


def new() -> tuple[Tree, list[Record]]:
    passed: list[Record] = []
    tree = Tree(passed.append, None)
    passed.clear()
    return tree, passed


def test_each_change_is_passed_on() -> None:
    tree, passed = new()
    directory = tree.make(ROOT, "d", DIRECTORY).ino
    file = tree.make(directory, "f", FILE).ino
    tree.write(file, 2, b"data")
    tree.truncate(file, 3)
    tree.link(file, ROOT, "l")
    tree.rename(directory, "f", ROOT, "g")
    tree.remove(ROOT, "l", directory=False)
    tree.remove(ROOT, "d", directory=True)
    assert passed == [
        Made(ROOT, "d", directory, DIRECTORY),
        Made(directory, "f", file, FILE),
        Written(file, 2, b"data"),
        Truncated(file, 3),
        Linked(ROOT, "l", file),
        Renamed(directory, "f", ROOT, "g", file),
        Removed(ROOT, "l"),
        Removed(ROOT, "d"),
    ]
    assert bytes(tree[file].content) == b"\0\0d"
    assert [name for name, _, _ in tree.entries(ROOT)] == [LEDGERS, "g"]


def test_a_ledger_is_passed_on_as_notes_only() -> None:
    tree, passed = new()
    ledgers = tree.child(ROOT, LEDGERS).ino
    ledger = tree.make(ledgers, "w.ledger", FILE).ino
    tree.write(ledger, 0, b"line\n")
    tree.truncate(ledger, 0)
    tree.write(ledger, 0, b"again\n")
    assert all(isinstance(each, Noted) for each in passed)
    assert [(each.ledger, each.data) for each in passed if isinstance(each, Noted)] == [("w", b"line\n"), ("w", b"again\n")]


def test_what_fails_is_not_passed_on() -> None:
    tree, passed = new()
    tree.make(tree.make(ROOT, "d", DIRECTORY).ino, "f", FILE)
    passed.clear()
    for number, fails in (
        (errno.EEXIST, lambda: tree.make(ROOT, "d", DIRECTORY)),
        (errno.ENOENT, lambda: tree.rename(ROOT, "no", ROOT, "n")),
        (errno.ENOTEMPTY, lambda: tree.remove(ROOT, "d", directory=True)),
        (errno.EISDIR, lambda: tree.remove(ROOT, "d", directory=False)),
    ):
        with pytest.raises(OSError, match=os.strerror(number)):
            fails()
    assert passed == []


def test_a_preloaded_directory_is_there_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"content")
    passed: list[Record] = []
    Tree(passed.append, tmp_path)
    (began,) = passed
    assert isinstance(began, Began)
    names = began.nodes[ROOT][1]
    assert isinstance(names, dict)
    assert LEDGERS not in names
    assert b"content" in [content for _, content in began.nodes.values()]
