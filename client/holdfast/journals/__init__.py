"""Journals (transcripts and events): append in batches, read as a stream, follow."""
