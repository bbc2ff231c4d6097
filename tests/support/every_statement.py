"""Every statement that `store/` can make: by calling all its functions, and by rendering all filters and orders."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.contract.kinds import JOURNALS, KINDS, STORED_JOURNALS, Field, FieldType, Journal, Kind, Shape, referrers
from holdfast.v1 import admin_service_pb2 as admin_pb2
from holdfast.v1 import blob_service_pb2 as blob_pb2
from holdfast.v1 import entry_pb2, store_service_pb2
from holdfast.v1 import journal_service_pb2 as journal_pb2
from holdfastd.errors import HoldfastError, InvalidArgument
from holdfastd.model.blobs import STEPS_PER_LEVEL
from holdfastd.model.call import Call
from holdfastd.model.commands import ExpireRequests
from holdfastd.model.filters import And, Comparison, Literal, LiteralKind, Node, Not, Operator
from holdfastd.model.ordering import Order, parse_order
from holdfastd.model.predicates import filterable_fields
from holdfastd.store import audits, blobs, changes, entry_gaps, inheritance, ledger, loading, meta, query, verify_checksums
from holdfastd.store.checksum_fill import TABLES
from holdfastd.store.dialect import Dialect
from holdfastd.store.sql import child_sql, cycle_sql, key_sql, kind_sql, numbered_sql, quoted, referrers_sql, value_sql
from tests.registry.world import SINGULAR, VALUES, World, complete, insert_of, settable, targets_of, update_of, without_daemon_s
from tests.support.api import append, delete, insert, update
from tests.support.engine import Engine, insert_session
from tests.support.in_process import DirectApi
from tests.support.messages import put

FILTERED = ("task", "workflow", "pattern")  # run with every filter on both engines; together they have every field type
LITERALS = [
    *(Literal(LiteralKind.TEXT, text) for text in ("", "text", "2026-01-31")),
    Literal(LiteralKind.INTEGER, 2**40),
    Literal(LiteralKind.REAL, 0.5),
    Literal(LiteralKind.BOOLEAN, True),
    Literal(LiteralKind.BOOLEAN, False),
    Literal(LiteralKind.NULL, None),
    Literal(LiteralKind.ANYTHING, None),
]


# Calls of the store on one engine


SETTINGS: dict[str, Any] = {"inline_max_bytes": 40}  # so that some blobs are in files


def drive(engine: Engine, directory: Path) -> list[Any]:
    """Writes, refusals, lists and checks of every kind, journal and blob. The answers must be the same for every engine."""
    api = DirectApi(engine)
    world = World(api)
    seen = [answer for kind in KINDS.values() for answer in _life(engine, world, kind)]
    seen += [answer for journal in STORED_JOURNALS.values() for answer in _journal(api, world, journal)]
    seen += _loads(api)
    seen += _pages(api)
    seen += _blobs(engine, api, directory)
    seen += _damaged(engine, api)
    seen += _upkeep(engine, api)
    seen.append(api.problems())
    return seen


def _life(engine: Engine, world: World, kind: Kind) -> Iterator[Any]:
    """One record with every field set: created twice, updated, listed, read from its columns, deleted with its dependents."""
    api = world.api
    message = _whole(world, kind)
    id = world.add(kind, message)
    stored = api.get(kind.name, id)
    yield _refusal(lambda: api.commit(insert_of(kind, without_daemon_s(kind, stored))))
    yield _refusal(lambda: api.commit(insert_of(kind, _without_id(without_daemon_s(kind, stored))))) if kind.keys else ""
    yield from (_refusal(lambda field=field: api.commit(_dangling(world, kind, field))) for field in kind.references)
    yield len(api.list(kind.name, filter=f'id = "{id}"').records)
    if not kind.immutable:
        yield from _changes(api, world, kind, stored)
    yield api.count(kind.name)
    yield _matched(engine, kind, api.workspace) if kind.name in FILTERED else ""
    keys = [store_service_pb2.RecordKey(kind=kind.name, id=each) for each in (id, "nothing")]
    yield len(api.store.BatchGet(store_service_pb2.StoreServiceBatchGetRequest(workspace=api.workspace, keys=keys)).records)
    lists = [store_service_pb2.ScanList(kind=kind.name)]
    scanned = api.store.Scan(store_service_pb2.StoreServiceScanRequest(workspace=api.workspace, lists=lists))
    yield [len(frame.records) for frame in scanned]
    engine.connection.execute(f"UPDATE {quoted(kind.name)} SET image = NULL")
    yield api.get(kind.name, id).id == id
    yield _refusal(lambda: api.commit(delete(kind.name, id, cascade=True)))
    for each in api.list(kind.name, page_size=1000).records:
        with suppress(HoldfastError):
            api.commit(delete(kind.name, getattr(each, kind.name).id, cascade=True))


def _matched(engine: Engine, kind: Kind, workspace: str) -> list[tuple[str, int]]:
    """The number of records that each filter matches."""
    matched = []
    with engine.readers.snapshot(Call()) as connection:
        for node in nodes(kind):
            with suppress(InvalidArgument):
                sql, parameters = query.count(connection.dialect, kind, workspace, node)
                matched.append((str(node), connection.execute(sql, parameters).fetchone()[0]))
    return matched


def _pages(api: Any) -> Iterator[Any]:
    """Lists with one record per page, in which some records have no value in the order's field."""
    for start in (0, 2, 0, 1):
        api.insert("session", title=str(start), **({"start_time": datetime.fromtimestamp(start, UTC)} if start else {}))
    for order_by in (
        "start_time",
        "start_time desc",
        "start_time, title desc",
        "start_time desc, title",
        "title desc, start_time",
    ):
        seen, token = [], ""
        while not seen or token:
            page = api.list("session", order_by=f"{order_by}, create_time", page_size=1, page_token=token)
            seen += [each.session.start_time.seconds for each in page.records]
            token = page.next_page_token
        yield order_by, seen


def _whole(world: World, kind: Kind) -> Any:
    message = world.minimal(kind)
    for field in settable(kind):
        if field.reference is None:
            message.ClearField(field.name)
            world.fill(message, field)
        elif field.repeated:
            getattr(message, field.name).append(world.parent(targets_of(kind, field)))
        elif not getattr(message, field.name):
            setattr(message, field.name, world.parent(targets_of(kind, field)))
    for field in kind.references:
        if field.reference is not None and field.reference.kind_field:
            setattr(message, field.reference.kind_field, "task")
    return complete(message)


def _dangling(world: World, kind: Kind, field: Field) -> store_service_pb2.Mutation:
    message = world.minimal(kind)
    if field.reference is not None and field.reference.kind_field:
        setattr(message, field.reference.kind_field, "task")
    message.ClearField(field.name)
    put(message, field, ["nobody"] if field.repeated else "nobody")
    return insert_of(kind, message)


def _changes(api: Any, world: World, kind: Kind, stored: Any) -> Iterator[Any]:
    """Updates every mutable field, by an update and by an upsert; then uses a wrong version."""
    names = [each.name for each in settable(kind) if not each.immutable]
    plain = [name for name in names if kind.by_name[name].reference is None and not kind.by_name[name].required]
    yield _refusal(lambda: api.commit(update_of(kind, kind.message_class(id=stored.id), plain)))
    again = insert_of(kind, stored)
    upsert = store_service_pb2.Upsert(record=again.insert.record)
    upsert.update_mask.paths.extend(names)
    yield _refusal(lambda: api.commit(store_service_pb2.Mutation(upsert=upsert)))
    upsert.record.CopyFrom(insert_of(kind, _without_id(without_daemon_s(kind, stored))).insert.record)
    yield kind.name in SINGULAR or _refusal(lambda: api.commit(store_service_pb2.Mutation(upsert=upsert)))
    yield _refusal(lambda: api.commit(update_of(kind, stored, plain, version=999)))
    if kind.readiness is not None:
        other = world.parent(kind.name)
        waiting = kind.message_class(id=other, **{kind.readiness.waits_for: [stored.id]})
        yield _refusal(lambda: api.commit(update_of(kind, waiting, [kind.readiness.waits_for])))


def _without_id(stored: Any) -> Any:
    copy = type(stored)()
    copy.CopyFrom(stored)
    copy.ClearField("id")
    return copy


def _journal(api: Any, world: World, journal: Journal) -> Iterator[Any]:
    """Appends, a repeated append, reads, the audit, and the deletion of the journal with its parent."""
    parent_kind, parent = journal.parents[0], world.parent(journal.parents[0])
    place = {"workspace": api.workspace, "parent_kind": parent_kind}
    entries = [entry_pb2.Entry(**{journal.name: _entry(world, journal, *in_blob)}) for in_blob in ((), (), journal.blobs)]
    append = journal_pb2.JournalServiceAppendRequest(parent_id=parent, entries=entries, request_id=journal.name, **place)
    yield [api.journal.Append(append).last_number for _ in range(2)]
    append.request_id = f"{journal.name} again"
    yield api.journal.Append(append).last_number
    read = journal_pb2.JournalServiceReadRequest(parent_id=parent, journal=journal.name, **place)
    yield [[each.number for each in frame.entries] for frame in api.journal.Read(read)]
    for name, text in ((journal.name, ""), ("audit", ""), ("audit", 'time > "2026-01-31"')):
        listed = journal_pb2.JournalServiceListRequest(workspace=api.workspace, journal=name, filter=text)
        yield [(each.number, each.parent_kind) for each in api.journal.List(listed).entries]
    append.parent_id = "nobody"
    yield _refusal(lambda: api.journal.Append(append))
    yield _refusal(lambda: api.commit(delete(parent_kind, parent)))
    yield len(api.changes())
    yield _refusal(lambda: api.commit(delete(parent_kind, parent, cascade=True)))


def _loads(api: Any) -> Iterator[Any]:
    """A trial with a blob that is not there, the load itself, and what is left out or refused when it comes again."""
    digest = f"sha256:{'7' * 64}"
    items = [_item("session", id="loaded", version=3), _item("checkpoint", id="k", session_id="loaded", number=4)]
    entry = entry_pb2.Entry(parent_kind="session", parent_id="loaded", number=5, transcript={"role": "r"})
    items.append(admin_pb2.LoadItem(entry=entry, actor="other"))
    trial = _item("artifact", name="a", content_digest=digest)
    request = admin_pb2.AdminServiceLoadRequest(workspace=api.workspace, items=[*items, trial], request_id="load")
    yield _refusal(lambda: api.admin.Load(request))
    request.dry_run, request.assumed_digests[:] = True, [digest]
    yield [(each.version, each.number, each.skipped) for each in api.admin.Load(request).results]
    request = admin_pb2.AdminServiceLoadRequest(workspace=api.workspace, items=items, request_id="load")
    yield [[each.version for each in api.admin.Load(request).results] for _ in range(2)]  # the second time by its request id
    request.request_id = "again"
    yield _refusal(lambda: api.admin.Load(request))
    request.on_conflict = admin_pb2.ON_CONFLICT_SKIP
    yield [(each.version, each.number, each.skipped) for each in api.admin.Load(request).results]
    del request.items[:]
    request.items.append(_item("checkpoint", id="other", session_id="loaded", number=4))
    yield _refusal(lambda: api.admin.Load(request))


def _item(kind: str, **fields: Any) -> admin_pb2.LoadItem:
    item = admin_pb2.LoadItem()
    getattr(item.record, kind).CopyFrom(KINDS[kind].message_class(**fields))
    return item


def _entry(world: World, journal: Journal, *in_blob: Field) -> Any:
    """An entry with every field that goes with these blobs, or without blobs."""
    message = journal.message_class()
    for field in journal.fields:
        replaced = any(each.in_place_of == field.name for each in in_blob)
        if not (field.output_only or replaced or (field in journal.blob_columns and not in_blob)):
            world.fill(message, field)
    return message


def _blobs(engine: Engine, api: Any, directory: Path) -> Iterator[Any]:
    content = random.Random(7).randbytes(50_000)
    delta = api.put(content).digest
    yield api.put(content).existed
    (directory / api.blob.Stat(blob_pb2.BlobServiceStatRequest(digest=delta)).path).unlink()
    yield api.put(content).existed  # no: it replaces the lost file
    for _ in range(STEPS_PER_LEVEL + 1):  # enough for a delta to reach the second level of its chain
        content += b"more"
        delta = api.put(content, base_digest=delta).digest
    yield delta, len(b"".join(frame.chunk for frame in api.blob.Get(blob_pb2.BlobServiceGetRequest(digest=delta))))
    yield api.blob.Stat(blob_pb2.BlobServiceStatRequest(digest=delta)).reference_count
    yield from _as_from_before(engine, api)
    raw = api.put(random.Random(8).randbytes(50_000)).digest  # in no cache
    part = blob_pb2.BlobServiceGetRequest(digest=raw, offset=7, length=9)
    yield [frame.chunk for frame in api.blob.Get(part)]
    for row in blobs.page(engine.connection, "", 1_000):
        ended = replace(row, lease_expire_time=0).sealed()
        engine.connection.execute(
            "UPDATE blob SET lease_expire_time = 0, checksum = ? WHERE digest = ?", (ended.checksum, row.digest)
        )
    engine.connection.execute("UPDATE blob_candidate SET due_time = 0")
    yield [_counts(api, "sweep", dry_run) for dry_run in (True, False, False)]
    stray = directory / "blobs" / "00" / ("0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a crash")
    yield [_counts(api, "recover", dry_run) for dry_run in (True, False)]


def _as_from_before(engine: Engine, api: Any) -> Iterator[Any]:
    """Removes all checksums and images of entries, as in a store of an earlier version, and fills them in again."""
    api.commit(insert("session", id="before"), append("before", "an entry"))
    for table in TABLES:
        engine.connection.execute(f'UPDATE "{table}" SET checksum = NULL')
    engine.connection.execute("UPDATE changes SET image_checksum = NULL")
    for journal in STORED_JOURNALS:
        engine.connection.execute(f'UPDATE "{journal}" SET image = NULL')
    engine.connection.execute("DELETE FROM blob_checksum")
    yield _counts(api, "checksums", False)
    engine.ledger.heads.clear()  # as after a restart: the append looks the journal up and checks it
    api.commit(append("before", "another"))


def _damaged(engine: Engine, api: Any) -> Iterator[Any]:
    """A record of which neither the row nor the history has an intact copy; afterwards the history is as it was."""
    change = "UPDATE changes SET checksum = checksum + ? WHERE id = ? AND action = 1"
    id = api.insert("task", title="damaged")
    engine.connection.execute("UPDATE task SET checksum = checksum + 1 WHERE id = ?", (id,))
    engine.connection.execute(change, (1, id))
    yield _refusal(lambda: api.commit(update("task", id=id, title="other", mask=["title"])))
    yield _refusal(lambda: api.commit(delete("task", id)))
    engine.connection.execute(change, (-1, id))
    with engine.readers.snapshot(Call()) as connection:
        yield len(blobs.some_paths(connection, 3))


def _counts(api: Any, job: str, dry_run: bool) -> dict[str, int]:
    frames = api.admin.RunJob(admin_pb2.AdminServiceRunJobRequest(job=job, dry_run=dry_run))
    return dict(list(frames)[-1].counts)


def _upkeep(engine: Engine, api: Any) -> Iterator[Any]:
    yield engine.writer.submit(ExpireRequests(2**62, 1, 10), Call()) > 0
    yield _counts(api, "housekeeping", False)["requests_expired"], _counts(api, "compact", False)
    status = api.admin.GetStatus(admin_pb2.AdminServiceGetStatusRequest())
    yield list(status.workspaces), status.workspace_count, status.revision, status.blob_count
    page = api.admin.ListWorkspaces(admin_pb2.AdminServiceListWorkspacesRequest(page_size=1))
    yield [each.name for each in page.workspaces]
    yield _refusal(lambda: api.count("task", workspace="nowhere"))
    for seconds in (1_000_000, 0):  # both before the last commit, by more than an hour
        engine.batcher._clock_ns = lambda now_ns=seconds * 10**9: now_ns
        engine.submit(insert_session())
    yield engine.ledger.clock_warnings(0)
    yield engine.query("SELECT value FROM meta WHERE name = 'clock_set_back'")


def _refusal(action: Any) -> str:
    """The reason of the refusal; empty when the call succeeded."""
    try:
        action()
    except HoldfastError as error:
        return f"{type(error).__name__} {error.reason}"
    return ""


# The statements of the store in one dialect


def written(dialect: Dialect) -> Iterator[str]:
    """All lists, counts and reads, with every filter on every field, every order and every page position."""
    for kind in KINDS.values():
        yield from _of_kind(kind)
        yield from (sql for sql, _ in _lists(dialect, kind))
    for journal in STORED_JOURNALS.values():
        yield from (sql for sql, _ in _entries(dialect, journal))
    yield from (sql for sql, _ in _audits(dialect))
    yield from (changes.page_sql(dialect, kinds, ids) for kinds in range(3) for ids in range(3))
    yield from (
        changes.OF_RECORD,
        changes.SET_BACK,
        loading.BLOBS,
        meta.CLEAR,
        verify_checksums.PARENTS,
    )  # needed only after damage
    yield from (sql for journal in STORED_JOURNALS.values() for sql in verify_checksums.by_number_sql(journal))
    yield from (entry_gaps.neighbours_sql(journal) for journal in STORED_JOURNALS.values() if journal.by_revision)
    yield from (entry_gaps.places_sql((kind, id)) for kind, id in (("", ""), ("session", ""), ("", "S")))
    yield from (ledger._find_sql(count) for count in (1, 2, ledger.KEYS_A_STATEMENT))


def _of_kind(kind: Kind) -> Iterator[str]:
    sql = kind_sql(kind)
    yield from (sql.image, sql.columns, sql.insert, sql.update, sql.delete, sql.exists, sql.version)
    for field in kind.children:
        yield from (child_sql(kind, field).select, child_sql(kind, field).delete)
    yield from (key_sql(kind, key) for key in kind.keys)
    for referrer in referrers()[kind.name]:
        assert referrer.field.reference is not None
        yield referrers_sql(referrer.kind, referrer.field, referrer.field.reference.kind_field)
    yield from (cycle_sql(kind, field) for field in kind.references if field.reference and field.reference.acyclic)
    if kind.lineage is not None:
        yield from (numbered_sql(kind, name) for name in (kind.lineage.name, kind.lineage.number_of))
    for heir in inheritance.heirs().get(kind.name, ()):
        yield value_sql(kind, heir.field.name)


def nodes(shape: Shape) -> Iterator[Node]:
    """Every valid comparison on a field of the shape, and the logical operators."""
    for path in (path for field in filterable_fields(shape).values() for path in _paths(field)):
        for operator, literal in itertools.product(Operator, LITERALS):
            yield Comparison(path, operator, literal)
    one = Comparison(("create_time",), Operator.GREATER, Literal(LiteralKind.TEXT, "2026-01-31"))
    yield from (Not(one), And((one, Not(one))))


def _paths(field: Field) -> Iterator[tuple[str, ...]]:
    yield (field.name,)
    if field.type is FieldType.JSON and not field.repeated:
        yield from ((field.name, "k"), (field.name, "k", 'odd "key'))
    if field.reference is not None and field.reference.kind and not field.repeated:
        inside = KINDS[field.reference.kind].by_name.values()
        yield from ((field.name, each.name) for each in inside if not (each.repeated or each.computed))
    if field.member is not None:
        yield from ((field.name, *inner) for each in field.member.fields for inner in _paths(each))


def _lists(dialect: Dialect, kind: Kind) -> Iterator[query.Query]:
    plain = parse_order(kind, "")
    for node in nodes(kind):
        with suppress(InvalidArgument):
            yield query.select_page(dialect, kind, "w", node, plain, None, 1)
            yield query.count(dialect, kind, "w", node)
    for order in _orders(kind):
        for after in (None, *_places(order)):
            yield query.select_page(dialect, kind, "w", None, order, after, 1)
    yield query.select_page(dialect, kind, "w", None, plain, None, None)
    yield query.count(dialect, kind, "w", None)


def _orders(kind: Kind) -> Iterator[Order]:
    """Every field ascending and descending, alone and followed by a field in the opposite direction."""
    for field in kind.columns:
        for one, other in (("asc", "desc"), ("desc", "asc")):
            for text in (f"{field.name} {one}", f"{field.name} {one}, create_time {other}"):
                with suppress(InvalidArgument):
                    yield parse_order(kind, text)


def _places(order: Order) -> Iterator[list[Any]]:
    """A position in the middle of the list, and one at which the first value is unset."""
    place = [VALUES[each.field.type] for each in order.keys]
    yield place
    yield [None, *place[1:]]


def _entries(dialect: Dialect, journal: Journal) -> Iterator[query.Query]:
    for node in (None, *nodes(journal)):
        with suppress(InvalidArgument):
            for descending in (False, True):
                yield query.read_entries(dialect, journal, 1, node, descending=descending, limit=1)
                for after, names in itertools.product((None, (1, 1)), ({}, {"parent_kind": "task", "parent_id": "t"})):
                    yield query.list_entries(dialect, journal, "w", node, after=after, descending=descending, limit=1, **names)
                for after in (None, (1, 1, 1)) if journal.by_revision else ():
                    asked: dict[str, Any] = {"parent_kind": "task"} if after else {}
                    yield query.list_by_revision(
                        dialect, journal, "w", node, after=after, descending=descending, limit=1, **asked
                    )


def _audits(dialect: Dialect) -> Iterator[query.Query]:
    for node in (None, *nodes(JOURNALS["audit"])):
        with suppress(InvalidArgument):
            for after, descending in itertools.product((None, (1, 1)), (False, True)):
                for names in ({}, {"kind": "task"}, {"id": "t"}, {"kind": "task", "id": "t"}):
                    yield audits.select_page(dialect, "w", node, after=after, descending=descending, limit=1, **names)
