"""`list` and `show`: records of any kind."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from holdfast.cli import exits
from holdfast.cli.fields import CELL_CHARACTERS, block, cell, chosen_fields, column_of, value_at
from holdfast.cli.json_form import json_form, json_line
from holdfast.cli.kind_names import id_of, kind_named
from holdfast.cli.options import Options
from holdfast.cli.reach import open_store, records_of
from holdfast.cli.table import terminal_columns, write_table
from holdfast.contract.kinds import Kind


def list_records(options: Options, given: argparse.Namespace) -> int:
    """Lists records as they come, in a table or as JSON lines."""
    kind = kind_named(given.kind, verb="show")
    fields = chosen_fields(kind, given.columns)
    with open_store(options) as store:
        found = records_of(store, kind).list(
            filter=given.filter, order_by=given.order_by, page_size=given.page_size, limit=given.limit
        )
        forms = (json_form(each) for each in found)
        if options.as_json:
            for form in forms:
                print(json_line({name: value_at(form, name) for name in fields} if given.columns else form))
        else:
            limit = terminal_columns()
            rows = _rows(forms, fields, CELL_CHARACTERS if limit else None)
            write_table([column_of(kind, name) for name in fields], rows, limit)
    return exits.OK


def _rows(forms: Iterator[dict[str, Any]], fields: list[str], most: int | None) -> Iterator[list[str]]:
    for form in forms:
        yield [cell(name, value_at(form, name))[:most] for name in fields]


def show_record(options: Options, given: argparse.Namespace) -> int:
    """Shows one record with all its fields."""
    kind = kind_named(given.kind, verb="show")
    id = id_of(kind, given.id)
    with open_store(options) as store:
        form = json_form(records_of(store, kind).get(id))
    if options.as_json:
        print(json_line(form))
    else:
        print("\n".join(_lines(kind, form)))
    return exits.OK


def _lines(kind: Kind, form: dict[str, Any]) -> Iterator[str]:
    width = max(map(len, form)) + 2
    for name, value in form.items():
        text = block(kind, name, value)
        first, *more = text.split("\n")
        yield f"{name:<{width}}{first}".rstrip()
        yield from (" " * width + line for line in more)
