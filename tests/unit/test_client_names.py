"""The names that `holdfast` exports, including deprecated ones."""

from __future__ import annotations

import holdfast
from holdfast.journals.writer import TranscriptWriter


def test_the_old_name_of_the_transcript_writer_still_works() -> None:
    assert holdfast.Writer is holdfast.TranscriptWriter is TranscriptWriter


def test_every_exported_name_is_there() -> None:
    assert [name for name in holdfast.__all__ if not hasattr(holdfast, name)] == []
