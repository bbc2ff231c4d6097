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
from holdfast.cli.text import visible
from holdfast.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from holdfast.store import Store

_STEERING = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")  # control characters except \t, \n, \f and \r
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
    """Writes content to stdout, or with `--all` the contexts of a session into a directory.

    examples:
      holdfast cat sha256:2cf24d…  > greeting.txt
      holdfast cat chk_… | jq .messages
      holdfast cat art_… --offset 1048576 --length 4096 | xxd
      holdfast cat --all ses_… ./contexts
    """
    from holdfast.cli.digests import digest_of

    if whole != (directory is not None):
        raise InvalidArgument("--all and DIR go together: `holdfast cat --all SESSION DIR`.", reason="USAGE")
    with open_store(options) as store:
        if directory is not None:
            return _write_all(store, options, what, directory)
        chunks = store.blobs.chunks(digest_of(store, what, kind), offset, length or 0)
        _write(chunks, refuse_binary=sys.stdout.isatty() and not force)
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


def _write(chunks: Iterator[bytes], *, refuse_binary: bool) -> None:
    for chunk in chunks:
        if refuse_binary and not _is_text(chunk):
            raise FailedPrecondition(
                "The content is binary and stdout is a terminal. Redirect it to a file, or pass --force.", reason="BINARY"
            )
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _is_text(chunk: bytes) -> bool:
    """Whether a chunk is UTF-8 text without control characters that steer a terminal. It may begin and end inside a character."""
    start = next((index for index, byte in enumerate(chunk[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(chunk[start:])
    except UnicodeDecodeError:
        return False
    return not _STEERING.search(text)
