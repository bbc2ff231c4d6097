"""`create`, `set` and `delete`: records of any kind, from `FIELD=VALUE` and from JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import Descriptor

from holdfast.cli import exits
from holdfast.cli.field_values import MAX_FORM_BYTES, STDIN, Files, Upload, form_values, value_of
from holdfast.cli.fields import descriptor_of
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import id_of, kind_named, only_id, plain_name, said, unknown
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store, records_of
from holdfast.contract.kinds import Kind
from holdfast.errors import HasDependents, InvalidArgument
from holdfast.values.json_text import from_json

if TYPE_CHECKING:
    from holdfast.store import Store


def create(options: Options, given: argparse.Namespace) -> int:
    """Adds a record and prints its id, or with --json the record."""
    kind, files = kind_named(given.kind), Files()
    fields = _form(kind, given.json_file, files) if given.json_file is not None else {}
    fields |= _values(kind, given.fields, files)
    with open_store(options, actor=given.actor) as store:
        made = _created(store, kind, _uploaded(store, _described(kind, fields)))
    print(json_line(json_form(made)) if options.as_json else made.id)
    return exits.OK


def set_fields(options: Options, given: argparse.Namespace) -> int:
    """Changes fields of a record and prints its new version, or with --json the record."""
    kind = kind_named(given.kind, verb="set")
    id, words = _target(kind, given)
    values = _values(kind, words, Files())
    if "id" in values:
        raise InvalidArgument("An id is fixed once the record is made.", reason="FIELD_IMMUTABLE", metadata={"field": "id"})
    if not values:
        raise InvalidArgument(f"Say what to set: `holdfast set {kind.name} ID FIELD=VALUE …`.", reason="USAGE")
    with open_store(options, actor=given.actor) as store:
        settled = _uploaded(store, values)
        changed = records_of(store, kind).update(id, version=given.version, **settled)
    print(json_line(json_form(changed)) if options.as_json else f"{changed.id} version {changed.version}")
    return exits.OK


def delete(options: Options, given: argparse.Namespace) -> int:
    """Removes a record, with `--cascade` also what belongs to it."""
    kind = kind_named(given.kind, verb="delete")
    id = id_of(kind, given.id)
    with open_store(options, actor=given.actor) as store:
        try:
            records_of(store, kind).delete(id, version=given.version, cascade=given.cascade)
        except HasDependents as error:
            if not given.cascade:
                error.message += f" Here that is `holdfast delete {kind.name} {id} --cascade`."
            raise
    print(json_line({"kind": kind.name, "id": id, "deleted": True}) if options.as_json else f"deleted {kind.name} {id}")
    return exits.OK


def _target(kind: Kind, given: argparse.Namespace) -> tuple[str, list[str]]:
    """The id and the `FIELD=VALUE` words, the first of which stands in the id's place where that may be left out."""
    if only_id(kind) and given.id is not None and given.id != only_id(kind):
        return only_id(kind), [given.id, *given.fields]
    return id_of(kind, given.id), given.fields


def _values(kind: Kind, words: Sequence[str], files: Files) -> dict[str, Any]:
    """The values of `FIELD=VALUE` words; None for what is to be cleared."""
    texts: dict[str, list[str]] = {}
    for word in words:
        name, assigned, text = word.partition("=")
        if not assigned:
            raise InvalidArgument(f"{word!r} is not FIELD=VALUE.", reason="USAGE")
        texts.setdefault(_settable(kind, name), []).append(text)
    return {name: value_of(descriptor_of(kind, name), each, files) for name, each in texts.items()}


def _settable(kind: Kind, name: str) -> str:
    field = kind.by_name.get(plain_name(name))
    if field is None:
        settable = [each.name for each in kind.fields if not each.output_only]
        raise unknown(f"field of {said(kind)}", name, settable, reason="FIELD_UNKNOWN")
    if field.output_only:
        raise InvalidArgument(
            f"{kind.name}.{field.name} is set by the daemon.", reason="FIELD_OUTPUT_ONLY", metadata={"field": field.name}
        )
    return field.name


def _form(kind: Kind, path: str, files: Files) -> dict[str, object]:
    """The values of a JSON object in a file, or on stdin for `-`."""
    try:
        form = from_json(files.read(path, MAX_FORM_BYTES))
    except OSError as error:
        raise InvalidArgument(f"--json-file {path}: {error.strerror}.", reason="USAGE") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: this is not one JSON object ({error}).", reason="USAGE") from None
    return form_values(cast(Descriptor, kind.message_class.DESCRIPTOR), form)


def _described(kind: Kind, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact made of a file is named after it and gets the type that the name tells, unless these are given."""
    content = fields.get("content_digest")
    if kind.name != "artifact" or not isinstance(content, Upload) or content.path == STDIN:
        return dict(fields)
    import mimetypes

    name = fields.get("name") or Path(content.path).name
    return {"name": name, "content_type": mimetypes.guess_type(name)[0], **fields}


def _uploaded(store: Store, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the digests of the blobs that the files have become."""
    return {name: _digest(store, each) if isinstance(each, Upload) else each for name, each in values.items()}


def _digest(store: Store, upload: Upload) -> str:
    return store.blobs.put(sys.stdin.buffer if upload.path == STDIN else Path(upload.path)).digest


def _created(store: Store, kind: Kind, values: Mapping[str, Any]) -> Any:
    try:
        return records_of(store, kind).create(**values)
    except TypeError as error:  # JSON with a number where the field takes text; the message names the field
        raise InvalidArgument(str(error), reason="VALUE_INVALID") from None
