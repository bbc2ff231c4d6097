"""Rules for `make_async.py` that it cannot derive from the sources: which names are awaited, and which are renamed or omitted."""

from __future__ import annotations

SOURCES = (
    "wire/scope.py",
    "wire/pages.py",
    "records/listing.py",
    "records/sink.py",
    "records/steps.py",
    "records/watch.py",
    "records/writes.py",
    "records/collection.py",
    "journals/calls.py",
    "journals/entry_pages.py",
    "journals/reader.py",
    "journals/transcripts.py",
)
TESTS = {
    "tests/end_to_end/test_client_records.py": "test_records.py",
    "tests/end_to_end/test_client_transcripts.py": "test_transcripts.py",
}

# (class, method) pairs that are awaited by definition; an empty class means a function.
WAITING = {
    ("Connection", "call"),
    ("Generator", "close"),
    ("Watch", "__enter__"),
    ("Watch", "__exit__"),
    ("Watch", "close"),
    ("Reader", "__enter__"),
    ("Reader", "__exit__"),
    ("Reader", "close"),
}
# The classes that an attribute or parameter of this name may have.
RECEIVERS = {
    "connection": {"Connection"},
    "scope": {"Scope"},
    "_scope": {"Scope"},
    "_sink": {"Sink", "JournalSink"},
    "_stored": {"CommitSink"},
    "_changes": {"Generator"},
    "_entries": {"Generator"},
}
# Protocols, and the classes that implement them without inheriting from them.
IMPLEMENTATIONS = {"Sink": {"CommitSink", "Steps"}, "JournalSink": {"JournalCalls", "Steps"}}
NO_FAMILY = {"Generic", "Protocol"}
# Attributes and variables that hold asynchronous iterators.
ITERATORS = {"_stream", "_changes", "_entries", "_items", "found"}

LEFT_OUT = {
    ("Transcripts", "watch"): "`entry_watch.py` is not generated; its readers would need another design",
    ("Transcripts", "writer"): "has its own thread; an asynchronous writer would need another design",
    ("", "test_type_checkers_know_every_collection"): "is about annotations that the asynchronous store does not have",
    ("", "test_with_timeout_shares_the_client"): "uses checkpoints and a writer",
    ("", "test_closed_stores_say_so"): "is about `connect`",
    ("", "test_the_writer_keeps_order_and_counts"): "uses a writer",
    ("", "test_writer_under_threads"): "uses a writer",
    ("", "test_an_invalid_entry_does_not_affect_its_batch"): "uses a writer",
    ("", "test_big_entries_in_many_batches"): "uses a writer",
    ("", "test_the_parent_deleted_under_a_writer"): "uses a writer",
    ("", "test_the_writer_ends"): "uses a writer",
    ("", "test_an_error_in_the_block_stays_the_error_when_the_flush_fails_too"): "uses a writer",
    ("", "test_follow_sees_what_comes"): "follows in a thread; `tests/async_client/test_tasks.py` follows in a task",
}

_MADE = "|".join(name.removesuffix(".py").replace("/", r"\.") for name in SOURCES)
NAMES = {
    rf"\bholdfast\.({_MADE})\b": r"tests.async_client.generated.\1",
    r"\bholdfast\.wire\.(connection|streams)\b": r"tests.async_client.\1",
    r"\bGenerator\[(.*), None, None\]": r"AsyncGenerator[\1, None]",
    r"\bGenerator\b": "AsyncGenerator",
    r"\bIterator\b": "AsyncIterator",
    r"\b__(iter|next|enter|exit)__\b": r"__a\1__",
    r"\bnext\(((?:self\.)?_?(?:changes|entries|items|found)\b)": r"anext(\1",
    r"\b(_changes|_entries)\.close\(": r"\1.aclose(",
    r"\bsuppress\(ValueError\)": "suppress(RuntimeError)",
    r"ValueError: another thread": "RuntimeError: another task",
}

# In tests: the names of variables that hold stores and transactions, their generated classes, and methods written by hand.
TEST_STORES = {"store", "tx", "s"}
TESTED = {"Collection", "Records", "CollectionWrites", "RecordWrites", "Transcripts", "TranscriptWrites"}
TESTED_BY_HAND = {"status"}
TEST_ITERATORS = {"list", "read", "follow", "history"}
TEST_HELPERS = {"call"}
TEST_NAMES = {
    r"(?m)^import holdfast$": "import holdfast\nfrom tests.async_client.store import AsyncStore, collect",
    r"\bholdfast\.Store\b": "AsyncStore",
}
