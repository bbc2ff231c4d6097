"""`cat` writes a blob, a checkpoint's context or an artifact's content; `cat --all` writes all contexts of a session."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli import exits
from holdfast.cli.command import command, count, offered, positive
from holdfast.cli.fields import KINDS_WITH_CONTENT
from holdfast.cli.kind_names import said
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store
from holdfast.cli.text import steers, visible
from holdfast.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from holdfast.store import Store

_REST_OF_CHARACTER = re.compile(rb"[\x80-\xbf]{0,3}")
_WHAT = f"a digest (sha256:…), or the id of {' or '.join(said(each) for each in KINDS_WITH_CONTENT)}"
_WHERE_TO = "with --all: the directory to write to, new or empty"
_ALL = "WHAT is a session: write the contexts of all its checkpoints into DIR, all or none"


@command("cat")
@click.argument("what", metavar="WHAT", help=_WHAT, shell_complete=offered("content_ids"))
@click.argument("directory", metavar="[DIR]", type=click.Path(), required=False, help=_WHERE_TO)
@click.option("--all", "whole", is_flag=True, help=_ALL)
@click.option("--kind", metavar="KIND", help="the kind, if records of two kinds have the id", shell_complete=offered("kinds"))
@click.option("--offset", metavar="BYTES", type=count, default=0, help="the first byte to write (default: 0)")
@click.option("--length", metavar="BYTES", type=positive, help="how many bytes to write (default: to the end)")
@click.option("--force", is_flag=True, help="write binary content even to a terminal")
def cat(
    options: Options,
    what: str,
    directory: str | None,
    whole: bool,
    kind: str | None,
    offset: int,
    length: int | None,
    force: bool,
) -> int:
    """Writes a blob, a checkpoint's context, or the content of an artifact or an execution log to stdout; with `--all`
    writes the contexts of a session into a directory.

    examples:
      holdfast cat sha256:2cf24d…  > greeting.txt
      holdfast cat chk_… | jq .messages
      holdfast cat art_… --offset 1048576 --length 4096 | xxd
      holdfast cat --all ses_… ./contexts
    """
    from holdfast.cli.digests import chunks_of

    if whole != (directory is not None):
        raise InvalidArgument("--all and DIR go together: `holdfast cat --all SESSION DIR`.", reason="USAGE")
    with open_store(options) as store:
        if directory is not None:
            return _write_all(store, options, what, directory)
        chunks = chunks_of(store, what, kind, offset, length or 0)
        _write(_harmless(chunks, midway=offset > 0) if sys.stdout.isatty() and not force else chunks)
    return exits.OK


def _write_all(store: Store, options: Options, session_id: str, directory: str) -> int:
    from holdfast.cli.export import export_contexts
    from holdfast.cli.json_form import json_line

    written = export_contexts(store, session_id, Path(directory))
    if options.as_json:
        print(json_line({"directory": directory, "contexts": written.contexts, "bytes": written.size_bytes}))
    else:
        print(f"{written.contexts} contexts, {written.size_bytes} bytes, in {visible(directory)}")
    return exits.OK


def _write(chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _harmless(chunks: Iterator[bytes], *, midway: bool) -> Iterator[bytes]:
    """Yields the content while it is UTF-8 text without control characters that steer a terminal; else FailedPrecondition.

    A character that is cut at the end of a chunk, and a carriage return there, are yielded with the next chunk, which shows
    what they are. With `midway` the content may begin inside a character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = ""
    for chunk in chunks:
        start = _rest_of_character(chunk) if midway else 0
        midway = False
        text = held + _decoded(decoder, chunk[start:])
        held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r")
        if steers(text):
            raise _binary()
        yield chunk[:start] + text.encode()
    if held:
        raise _binary()
    yield decoder.getstate()[0]


def _rest_of_character(chunk: bytes) -> int:
    found = _REST_OF_CHARACTER.match(chunk)
    return found.end() if found else 0


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes) -> str:
    try:
        return decoder.decode(chunk)
    except UnicodeDecodeError:
        raise _binary() from None


def _binary() -> FailedPrecondition:
    said = "The content is binary and stdout is a terminal. Redirect it to a file, or pass --force."
    return FailedPrecondition(said, reason="BINARY")
