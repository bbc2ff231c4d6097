"""Journals: transcripts and events, appended in batches, read as a stream, followed live."""
