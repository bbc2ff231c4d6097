"""`cat`: the bytes of a blob, of a checkpoint's context or of an artifact's content; `cat --all`: of a whole session."""

from __future__ import annotations

import argparse
import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.cli import exits
from holdfast.cli.export import export_contexts
from holdfast.cli.fields import rules_of
from holdfast.cli.json_form import json_line
from holdfast.cli.kind_names import kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store, records_of
from holdfast.contract.kinds import KINDS, Kind
from holdfast.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from holdfast.store import Store

DIGEST_PREFIX = "sha256:"


def blob_field(kind: Kind) -> str:
    """The field of a kind that names its content's blob; empty for kinds without."""
    fields = kind.message_class.DESCRIPTOR.fields
    return next((each.name for each in fields if rules_of(each).blob), "")


KINDS_WITH_CONTENT = tuple(each for each in KINDS.values() if blob_field(each))


def cat(options: Options, given: argparse.Namespace) -> int:
    """Writes content to stdout, or with `--all` the contexts of a session into a directory."""
    if given.all != (given.directory is not None):
        raise InvalidArgument("--all and DIR go together: `holdfast cat --all SESSION DIR`.", reason="USAGE")
    with open_store(options) as store:
        if given.all:
            return _write_all(store, options, given)
        chunks = store.blobs.chunks(_digest(store, given.what, given.kind), given.offset, given.length)
        _write(chunks, refuse_binary=sys.stdout.isatty() and not given.force)
    return exits.OK


def _write_all(store: Store, options: Options, given: argparse.Namespace) -> int:
    written = export_contexts(store, given.what, Path(given.directory))
    if options.as_json:
        print(json_line({"directory": given.directory, "contexts": written.contexts, "bytes": written.size_bytes}))
    else:
        print(f"{written.contexts} contexts, {written.size_bytes} bytes, in {given.directory}")
    return exits.OK


def _digest(store: Store, what: str, kind_name: str | None) -> str:
    if what.startswith(DIGEST_PREFIX):
        return what
    kinds = [_with_content(kind_named(kind_name))] if kind_name else list(KINDS_WITH_CONTENT)
    digests = {kind.name: digest for kind in kinds if (digest := _digest_of(store, kind, what)) is not None}
    if not digests:
        sorts = " or ".join(each.name for each in kinds)
        raise NotFound(f"There is no {sorts} {what!r}. Blobs are named {DIGEST_PREFIX}….", reason="RECORD_NOT_FOUND")
    if len(digests) > 1:
        raise FailedPrecondition(
            f"{what!r} is the id of a {' and of a '.join(digests)}. Say which with --kind.", reason="AMBIGUOUS"
        )
    ((name, digest),) = digests.items()
    if not digest:
        raise NotFound(f"The {name} {what} has no content.", reason="BLOB_NOT_FOUND")
    return digest


def _with_content(kind: Kind) -> Kind:
    if kind not in KINDS_WITH_CONTENT:
        sorts = " and ".join(each.noun for each in KINDS_WITH_CONTENT)
        raise InvalidArgument(f"A {kind.name} has no content. Only {sorts} have.", reason="USAGE")
    return kind


def _digest_of(store: Store, kind: Kind, id: str) -> str | None:
    """The digest of a record's content, empty when it has none; None when there is no such record."""
    try:
        digest: str = getattr(records_of(store, kind).get(id), blob_field(kind))
    except NotFound:
        return None
    return digest


def _write(chunks: Iterator[bytes], *, refuse_binary: bool) -> None:
    for chunk in chunks:
        if refuse_binary and not _is_text(chunk):
            raise FailedPrecondition(
                "The content is binary and stdout is a terminal. Redirect it to a file, or say --force.", reason="BINARY"
            )
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _is_text(chunk: bytes) -> bool:
    """Whether it looks like UTF-8 text. A chunk may begin and end in the middle of a character."""
    start = next((index for index, byte in enumerate(chunk[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(chunk[start:])
    except UnicodeDecodeError:
        return False
    return b"\0" not in chunk and b"\x1b" not in chunk
