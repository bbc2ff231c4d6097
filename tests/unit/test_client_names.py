"""Names that `holdfast` exports, and older ones that it keeps."""

from __future__ import annotations

import holdfast
from holdfast.journals.writer import TranscriptWriter


def test_the_writer_of_transcripts_has_kept_its_first_name() -> None:
    assert holdfast.Writer is holdfast.TranscriptWriter is TranscriptWriter


def test_every_exported_name_is_there() -> None:
    assert [name for name in holdfast.__all__ if not hasattr(holdfast, name)] == []
