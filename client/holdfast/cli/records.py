"""The commands on records of any kind: `list`, `show`, `create`, `set`, `delete`, `log` and `graph`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from holdfast.cli import exits
from holdfast.cli.command import command, count, offered, page_size, positive
from holdfast.cli.options import Options
from holdfast.cli.printing import write_lines, write_table
from holdfast.cli.terminal import terminal_columns

_WHICH_KIND = "the kind of record, such as tasks or session"
_WHICH_ID = "the record's id; optional for a kind with a single record, such as constitution"
_WHAT_TO_SET = "fields to set, as FIELD=VALUE; see the end of `holdfast create --help`"
_ONLY_VERSION = "only if the record still has this version; otherwise exits with 5"
_ORDER = "fields, such as `update_time desc` (default: create_time)"
_COLUMNS = "the fields to show, such as id,title,metadata.branch"
_FORM = "take fields from the JSON object in FILE (- is stdin), as `show --json` writes it; FIELD=VALUE overrides it"
_GRAPHS = "tasks (the default), initiatives, checkpoints or workflow"
_BEGIN = "the session of the checkpoints, the workflow, or the task at which to begin"
_READY = "begin with the records whose dependencies are all done, running ones too, and leave out records that are done"

_kind = click.argument("noun", metavar="KIND", help=_WHICH_KIND, shell_complete=offered("kinds"))
_id = click.argument("id", metavar="[ID]", required=False, help=_WHICH_ID, shell_complete=offered("ids"))
_fields = click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1, help=_WHAT_TO_SET, shell_complete=offered("assignments"))
_actor = click.option("--actor", metavar="NAME", help="the actor to record in the history (default: your user name)")
_version = click.option("--version", metavar="N", type=positive, help=_ONLY_VERSION)


@command("list")
@_kind
@click.option("--filter", metavar="FILTER", default="", help="only records that match, as in the examples below")
@click.option("--order-by", metavar="FIELDS", default="", help=_ORDER, shell_complete=offered("order_keys"))
@click.option("--limit", metavar="N", type=count, help="the largest number of records")
@click.option("--page-size", metavar="N", type=page_size, help="how many records to fetch at a time")
@click.option("--columns", metavar="FIELDS", default="", help=_COLUMNS, shell_complete=offered("columns"))
def list_records(
    options: Options, noun: str, filter: str, order_by: str, limit: int | None, page_size: int | None, columns: str
) -> int:
    """Lists the records of a kind, as a table or as JSON lines. For a program, tabs separate the cells of the table.

    examples:
      holdfast list tasks --filter 'status = "running" AND tags:"urgent"'
      holdfast list sessions --order-by 'update_time desc' --limit 20
      holdfast list checkpoints --filter 'session_id = "ses_…"' --columns id,number,context_size_bytes
      holdfast list tasks | cut -f 1,3
      holdfast list tasks --json | jq -r .title
    """
    from holdfast.cli.fields import CELL_CHARACTERS, cell, chosen_fields, column_of, value_at
    from holdfast.cli.json_form import json_form, json_line
    from holdfast.cli.kind_names import kind_named
    from holdfast.cli.reach import open_store, records_of

    kind = kind_named(noun, verb="show")
    fields = chosen_fields(kind, columns)
    with open_store(options) as store:
        found = records_of(store, kind).list(filter=filter, order_by=order_by, page_size=page_size or 0, limit=limit)
        forms = (json_form(each) for each in found)
        if options.as_json:
            for form in forms:
                print(json_line({name: value_at(form, name) for name in fields} if columns else form))
        else:
            most = CELL_CHARACTERS if terminal_columns() else None
            rows = ([cell(name, value_at(form, name))[:most] for name in fields] for form in forms)
            write_table([column_of(kind, name) for name in fields], rows)
    return exits.OK


@command("show")
@_kind
@_id
def show_record(options: Options, noun: str, id: str | None) -> int:
    """Shows one record with all its fields.

    examples:
      holdfast show task TASK-001
      holdfast show session ses_… --json
      holdfast show constitution
    """
    from holdfast.cli.fields import blocks
    from holdfast.cli.json_form import json_form, json_line, with_contents
    from holdfast.cli.kind_names import id_of, kind_named
    from holdfast.cli.reach import open_store, records_of

    kind = kind_named(noun, verb="show")
    wanted = id_of(kind, id)
    with open_store(options) as store:
        found = records_of(store, kind).get(wanted)
        form = with_contents(store, found, json_form(found))
    print(json_line(form) if options.as_json else "\n".join(blocks(kind, form)))
    return exits.OK


@command("create")
@_kind
@_fields
@click.option("--json-file", metavar="FILE", type=click.Path(), help=_FORM)
@_actor
def create(options: Options, noun: str, fields: Sequence[str], json_file: str | None, actor: str | None) -> int:
    """Adds a record and prints its id, or the record with --json.

    examples:
      holdfast create task title='Fix the login' tags=urgent tags=auth metadata='{"branch": "fix/login"}'
      holdfast create comment task_id=TASK-001 type=review file_path=login.py line=42 body=@remark.md
      holdfast create artifact task_id=TASK-001 type=diff content_digest=@login.diff
      holdfast create link type=follows from_kind=task from_id=TASK-002 to_kind=session to_id=ses_…
      holdfast show task TASK-001 --json | holdfast create task --json-file - --workspace other

    values:
      FIELD=@FILE reads a file (@-: stdin; @@: a literal @); if the field is a digest, uploads it; FIELD= clears
      for a list, repeat the field: tags=a tags=b
      JSON fields take JSON; lists of messages take a JSON object per element: 'phases={"phase": "plan"}'
      a time is like 2026-01-31T12:00:00Z, or now; a boolean is true or false
    """
    from holdfast.cli import writing
    from holdfast.cli.json_form import json_form, json_line
    from holdfast.cli.kind_names import kind_named
    from holdfast.cli.reach import open_store

    kind = kind_named(noun)
    values = writing.values_for(kind, fields, json_file)
    with open_store(options, actor=actor) as store:
        made = writing.create(store, kind, values)
    print(json_line(json_form(made)) if options.as_json else made.id)
    return exits.OK


@command("set")
@_kind
@_id
@_fields
@_version
@_actor
def set_fields(options: Options, noun: str, id: str | None, fields: Sequence[str], version: int | None, actor: str | None) -> int:
    """Changes fields of a record and prints its new version, or the record with --json.

    examples:
      holdfast set task TASK-001 status=running assignees=ann
      holdfast set task TASK-001 status=completed --version 4       exits with 5 if the record was changed meanwhile
      holdfast set session ses_… end_time=now tags=                 replaces a list; an empty value clears
      holdfast set constitution content=@rules.md                   after `holdfast create constitution …`
    """
    from holdfast.cli import writing
    from holdfast.cli.json_form import json_form, json_line
    from holdfast.cli.kind_names import kind_named
    from holdfast.cli.reach import open_store

    kind = kind_named(noun, verb="set")
    target, words = writing.target(kind, id, fields)
    values = writing.changes_for(kind, words)
    with open_store(options, actor=actor) as store:
        changed = writing.update(store, kind, target, version or 0, values)
    print(json_line(json_form(changed)) if options.as_json else f"{changed.id} version {changed.version}")
    return exits.OK


@command("delete")
@_kind
@_id
@_version
@click.option("--cascade", is_flag=True, help="also delete records that belong to it, and clear other records' references to it")
@_actor
def delete(options: Options, noun: str, id: str | None, version: int | None, cascade: bool, actor: str | None) -> int:
    """Deletes a record, with `--cascade` also the records that belong to it.

    examples:
      holdfast delete task TASK-001              exits with 5 if other records refer to it, and counts them
      holdfast delete construct cst_… --cascade
    """
    from holdfast.cli.json_form import json_line
    from holdfast.cli.kind_names import id_of, kind_named
    from holdfast.cli.reach import open_store, records_of
    from holdfast.errors import HasDependents

    kind = kind_named(noun, verb="delete")
    target = id_of(kind, id)
    with open_store(options, actor=actor) as store:
        try:
            records_of(store, kind).delete(target, version=version or 0, cascade=cascade)
        except HasDependents as error:
            if not cascade:
                error.message += f" On the command line: `holdfast delete {kind.name} {target} --cascade`."
            raise
    deleted = {"kind": kind.name, "id": target, "deleted": True}
    print(json_line(deleted) if options.as_json else f"deleted {kind.name} {target}")
    return exits.OK


@command("log")
@click.argument("what", metavar="KIND", help="the record's kind, or the id alone", shell_complete=offered("kinds"))
@click.argument("id", metavar="[ID]", required=False, help="the record's id", shell_complete=offered("ids"))
@click.option("-n", "--limit", metavar="N", type=count, help="the largest number of changes")
def log(options: Options, what: str, id: str | None, limit: int | None) -> int:
    """Shows the history of a record as a diff, newest first; also of a deleted record.

    examples:
      holdfast log task TASK-001
      holdfast log TASK-001 -n 1                 the last change and its actor
      holdfast log design-note dsn_… --json | jq .fields
    """
    from holdfast.cli import record_log
    from holdfast.cli.json_form import json_line

    for entry in record_log.entries(options, what, id, limit):
        if options.as_json:
            print(json_line(record_log.form(entry)))
        else:
            write_lines(record_log.lines(entry))
    return exits.OK


@command("graph")
@click.argument("what", metavar="[KIND]", default="tasks", help=_GRAPHS, shell_complete=offered("graphs"))
@click.argument("id", metavar="[ID]", required=False, help=_BEGIN, shell_complete=offered("graph_ids"))
@click.option("--ready", is_flag=True, help=_READY)
@click.option("--reverse", is_flag=True, help="show the predecessors of each record below it, instead of its successors")
@click.option("--filter", metavar="FILTER", default="", help="only records that match")
def graph(options: Options, what: str, id: str | None, ready: bool, reverse: bool, filter: str) -> int:
    """Shows records as trees: below each record its successors, or with `--reverse` its predecessors.

    examples:
      holdfast graph                             all tasks; below each, the tasks that wait for it
      holdfast graph --ready                     tasks whose dependencies are done; below each, the tasks that wait for it
      holdfast graph tasks TASK-007 --reverse    the tasks for which TASK-007 waits
      holdfast graph --filter 'initiative_id = "INIT-001"'
      holdfast graph checkpoints ses_…
      holdfast graph workflow ship               its versions
    """
    from holdfast.cli import graph as graphs
    from holdfast.cli.lineage import lineage_of, nodes_of
    from holdfast.cli.reach import open_store

    kind = lineage_of(what, id, ready=ready)
    with open_store(options) as store:
        nodes = nodes_of(store, kind, id or "", filter)
    found = graphs.rows_of(kind, nodes, id, ready=ready, reverse=reverse)
    if options.as_json:
        graphs.print_json(kind, nodes, found)
    else:
        graphs.draw(nodes, found)
    return exits.OK
