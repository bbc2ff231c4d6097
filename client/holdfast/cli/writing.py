"""What `create` and `set` write: the values of `FIELD=VALUE` words and of JSON, with the files that become blobs."""

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
from holdfast.contract.kinds import Kind
from holdfast.errors import InvalidArgument
from holdfast.values.json_text import from_json

if TYPE_CHECKING:
    from holdfast.store import Store


def values_for(kind: Kind, words: Sequence[str], json_file: str | None) -> dict[str, Any]:
    """The values of a new record: those of the JSON file, and over them those of the words."""
    files = Files()
    form = _form(kind, json_file, files) if json_file is not None else {}
    return _described(kind, form | _values(kind, words, files))


def changes_for(kind: Kind, words: Sequence[str]) -> dict[str, Any]:
    """The values to set in a record; None for what is to be cleared."""
    values = _values(kind, words, Files())
    if "id" in values:
        raise InvalidArgument("An id is fixed once the record is made.", reason="FIELD_IMMUTABLE", metadata={"field": "id"})
    if not values:
        raise InvalidArgument(f"Say what to set: `holdfast set {kind.name} ID FIELD=VALUE …`.", reason="USAGE")
    return values


def target(kind: Kind, id: str | None, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The id and the `FIELD=VALUE` words, the first of which stands in the id's place where that may be left out."""
    if only_id(kind) and id is not None and id != only_id(kind):
        return only_id(kind), [id, *words]
    return id_of(kind, id), words


def create(store: Store, kind: Kind, values: Mapping[str, Any]) -> Any:
    """Uploads the files among the values and adds the record."""
    try:
        return records_of(store, kind).create(**_uploaded(store, values))
    except TypeError as error:  # JSON with a number where the field takes text; the message names the field
        raise InvalidArgument(str(error), reason="VALUE_INVALID") from None


def update(store: Store, kind: Kind, id: str, version: int, values: Mapping[str, Any]) -> Any:
    """Uploads the files among the values and changes the record."""
    return records_of(store, kind).update(id, version=version, **_uploaded(store, values))


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
