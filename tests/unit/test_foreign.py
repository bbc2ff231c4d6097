"""What `--begin-anew` checks before it moves a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfastd.errors import SetupError
from holdfastd.foreign import find_store_files
from holdfastd.settings import Settings


@pytest.mark.parametrize("refused", ["directory", "file"])
def test_nothing_is_moved_when_the_database_could_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    settings = Settings(data_dir=tmp_path, socket=tmp_path / "s.sock")
    blob = settings.blobs_dir / "00" / "blob"
    blob.parent.mkdir(parents=True)
    blob.touch()
    settings.database_path.touch()
    denied = tmp_path if refused == "directory" else settings.database_path
    # Root may write anywhere, so file modes would not do here.
    monkeypatch.setattr(os, "access", lambda path, mode: path != denied)
    with pytest.raises(SetupError, match=f"Nothing was moved: {denied} cannot be"):
        find_store_files(settings, "", foreign_log=False, last_id="").begin_anew()
    assert blob.exists()
    monkeypatch.undo()
    find_store_files(settings, "", foreign_log=False, last_id="").begin_anew()
    assert not blob.exists()
