"""Tab completion of kinds, journals, fields, values and ids. Commands refer to these functions through `command.offered`.

Ids are read from a running daemon; completion never starts one. Ids with characters that are special in a shell are not offered,
because the shell inserts a candidate without quoting it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

import click
from google.protobuf.descriptor import FieldDescriptor

from holdfast.cli.fields import KINDS_WITH_CONTENT, descriptor_of, rules_of
from holdfast.cli.kind_names import JOURNALS, kind_named, plain_name
from holdfast.cli.options import Options
from holdfast.contract.kinds import KINDS, TIMESTAMP, Kind
from holdfast.errors import HoldfastError

IDS_OFFERED = 200
PATIENCE_S = 1.0
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.-]+")


def kinds(context: click.Context, incomplete: str) -> list[str]:
    """The kinds of record."""
    return _spelled(KINDS, incomplete)


def journals(context: click.Context, incomplete: str) -> list[str]:
    """The journals."""
    return _spelled(JOURNALS, incomplete)


def watched(context: click.Context, incomplete: str) -> list[str]:
    """The kinds and journals that `watch --kind` accepts."""
    return _spelled([*KINDS, *JOURNALS], incomplete)


def graphs(context: click.Context, incomplete: str) -> list[str]:
    """The kinds that have a graph."""
    from holdfast.cli.lineage import LINEAGES

    return _starting(incomplete, LINEAGES)


def ids(context: click.Context, incomplete: str) -> list[str]:
    """Ids of the kind that the first argument names."""
    kind = _kind_before(context)
    return _ids_of(context, [kind.name] if kind else [], incomplete)


def session_ids(context: click.Context, incomplete: str) -> list[str]:
    """Ids of sessions."""
    return _ids_of(context, ["session"], incomplete)


def content_ids(context: click.Context, incomplete: str) -> list[str]:
    """Ids of records that have content."""
    return _ids_of(context, [each.name for each in KINDS_WITH_CONTENT], incomplete)


def graph_ids(context: click.Context, incomplete: str) -> list[str]:
    """Ids that `graph` accepts for the kind."""
    from holdfast.cli.lineage import LINEAGES

    kind = _kind_before(context)
    lineage = LINEAGES.get(kind.name) if kind else None
    about = "" if kind is None or lineage is None else lineage.scope_kind if lineage.scope else kind.name
    return _ids_of(context, [about] if about else [], incomplete)


def columns(context: click.Context, incomplete: str) -> list[str]:
    """The kind's fields, for the last item of a comma-separated list."""
    kind = _kind_before(context)
    return _at_the_end(incomplete, kind.by_name) if kind else []


def order_keys(context: click.Context, incomplete: str) -> list[str]:
    """The fields by which a list can be ordered: stored, not repeated, not JSON."""
    kind = _kind_before(context)
    if kind is None:
        return []
    plain = [each.name for each in kind.fields if not (each.repeated or each.json)]
    return _at_the_end(incomplete, [each for each in plain if not rules_of(descriptor_of(kind, each)).computed])


def assignments(context: click.Context, incomplete: str) -> list[str]:
    """`FIELD=` for every settable field; after the `=`, the values that the contract lists, or ids of the kind referred to."""
    kind = _kind_before(context)
    name, assigned, value = incomplete.partition("=")
    if kind is None or (assigned and plain_name(name) not in kind.by_name):
        return []
    if not assigned:
        return _starting(incomplete, [f"{each.name}=" for each in kind.fields if not each.output_only])
    field = descriptor_of(kind, plain_name(name))
    reference = rules_of(field).reference
    if reference.kind or reference.kind_field:
        words = dict(each.split("=", 1) for each in context.params["fields"] or () if "=" in each)
        referred = reference.kind or words.get(reference.kind_field, "")
        found = _ids_of(context, [referred] if referred in KINDS else [], value)
    else:
        found = _starting(value, _known_values(kind, field))
    return [f"{name}={each}" for each in found]


def _known_values(kind: Kind, field: FieldDescriptor) -> Iterable[str]:
    if field.message_type is not None and field.message_type.full_name == TIMESTAMP:
        return ["now"]
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return ["true", "false"]
    if any(rules_of(each).reference.kind_field == field.name for each in kind.message_class.DESCRIPTOR.fields):
        return KINDS
    rules = rules_of(field)
    return rules.values or [each.value for each in rules.vocabulary]


def _spelled(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that begin with `incomplete`, with hyphens if it has hyphens."""
    return _starting(incomplete, (each.replace("_", "-") if "-" in incomplete else each for each in names))


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(each for each in names if each.startswith(incomplete))


def _at_the_end(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, _ = incomplete.rpartition(",")
    return _starting(incomplete, (f"{before}{comma}{each}" for each in names))


def _kind_before(context: click.Context) -> Kind | None:
    """The kind that the first argument names. It is in `args` while a later option still lacks its value."""
    named = context.params.get("noun") or context.params.get("what") or next(iter(context.args), "")
    try:
        return kind_named(named) if named else None
    except HoldfastError:
        return None


def _ids_of(context: click.Context, kinds: Iterable[str], incomplete: str) -> list[str]:
    """The first ids that begin with `incomplete`, or the newest if it is empty. Empty if no daemon runs."""
    options: Options = context.obj._replace(timeout_s=PATIENCE_S)
    try:
        return _starting(incomplete, chain.from_iterable(_plain_ids(options, KINDS[each], incomplete) for each in kinds))
    except (HoldfastError, OSError):
        return []


def _plain_ids(options: Options, kind: Kind, prefix: str) -> Iterator[str]:
    from holdfast.cli.reach import open_running, records_of
    from holdfast.values.filters import quoted

    filter, order_by = (f"id >= {quoted(prefix)}", "id") if prefix else ("", "create_time desc")
    with open_running(options) as store:
        found = records_of(store, kind).list(filter=filter, order_by=order_by, limit=IDS_OFFERED)
        yield from (each.id for each in found if _PLAIN_ID.fullmatch(each.id))
