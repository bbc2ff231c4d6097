"""Makes the values that `create` and `set` write, from `FIELD=VALUE` words and JSON, and uploads the files among them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import Descriptor

from holdfast.cli.field_values import MAX_FORM_BYTES, STDIN, Files, Upload, form_values, value_of
from holdfast.cli.fields import descriptor_of
from holdfast.cli.kind_names import id_of, only_id, plain_name, said, unknown
from holdfast.cli.reach import records_of
from holdfast.contract.content_types import content_type_of
from holdfast.contract.kinds import Kind
from holdfast.errors import InvalidArgument
from holdfast.values.json_text import from_json

if TYPE_CHECKING:
    from holdfast.store import Store


def values_for(kind: Kind, words: Sequence[str], json_file: str | None) -> dict[str, Any]:
    """Returns the values of a new record: those of the JSON file, overridden by those of the words."""
    files = Files()
    form = _form(kind, json_file, files) if json_file is not None else {}
    return _described(kind, form | _values(kind, words, files))


def changes_for(kind: Kind, words: Sequence[str]) -> dict[str, Any]:
    """Returns the values to set in a record; None clears a field."""
    values = _values(kind, words, Files())
    if "id" in values:
        raise InvalidArgument("The id of a record cannot be changed.", reason="FIELD_IMMUTABLE", metadata={"field": "id"})
    if not values:
        raise InvalidArgument(f"Say what to set: `holdfast set {kind.name} ID FIELD=VALUE …`.", reason="USAGE")
    return values


def target(kind: Kind, id: str | None, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Returns the id and the `FIELD=VALUE` words. If the kind's id may be left out, the argument `id` may be the first word."""
    if only_id(kind) and id is not None and id != only_id(kind):
        return only_id(kind), [id, *words]
    return id_of(kind, id), words


def create(store: Store, kind: Kind, values: Mapping[str, Any]) -> Any:
    """Uploads the files among the values and adds the record."""
    try:
        return records_of(store, kind).create(**_in_blobs(store, kind, _uploaded(store, kind, values)))
    except TypeError as error:  # JSON with a number where the field takes text; the message names the field
        raise InvalidArgument(str(error), reason="VALUE_INVALID") from None


def update(store: Store, kind: Kind, id: str, version: int, values: Mapping[str, Any]) -> Any:
    """Uploads the files among the values and changes the record."""
    return records_of(store, kind).update(id, version=version, **_uploaded(store, kind, values))


def _values(kind: Kind, words: Sequence[str], files: Files) -> dict[str, Any]:
    """The values of `FIELD=VALUE` words; None clears a field."""
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
    """Adds the defaults of an artifact made from a file: the file's name, and the content type guessed from the name."""
    content = fields.get("content_digest")
    if kind.name != "artifact" or not isinstance(content, Upload) or content.path == STDIN:
        return dict(fields)
    name = fields.get("name") or Path(content.path).name
    return {"name": name, "content_type": content_type_of(name), **fields}


def _uploaded(store: Store, kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """Uploads the files among the values and returns the values with the digests in their place."""
    return {name: _digest(store, kind, each) if isinstance(each, Upload) else each for name, each in values.items()}


def _in_blobs(store: Store, kind: Kind, values: dict[str, Any]) -> dict[str, Any]:
    """The values, without those for which a blob is there too, as `show --json` prints both.

    The content is put again, because the digest may be of another store.
    """
    for field in kind.blobs:
        text = values.get(field.in_place_of) if field.in_place_of and values.get(field.name) else None
        if isinstance(text, str) and text:
            from holdfast.values.unfit import bytes_of

            values |= {field.name: store.blobs.put(bytes_of(text), kind=kind.name).digest, field.in_place_of: None}
    return values


def _digest(store: Store, kind: Kind, upload: Upload) -> str:
    return store.blobs.put(sys.stdin.buffer if upload.path == STDIN else Path(upload.path), kind=kind.name).digest
