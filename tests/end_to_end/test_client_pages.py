"""Pages with tokens, which another process can continue, and what the daemon says about tokens that are not its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.contract.kinds import KINDS
from tests.conftest import DaemonProcess


def pages(page: Callable[..., holdfast.Page[Any]], **how: Any) -> list[list[Any]]:
    """All pages, each asked for with nothing but the token of the one before."""
    found, token = [], None
    while token is None or token:
        one = page(page_token=token or "", **how)
        assert one.revision > 0 and one.unreadable == []
        found.append(one.items)
        token = one.next_page_token
    return found


def test_a_list_goes_on_in_another_process(daemon: DaemonProcess, store: holdfast.Store) -> None:
    ids = [store.tasks.create(title=str(number), priority="high" if number % 2 else "low").id for number in range(7)]
    first = store.tasks.page(filter='priority = "low"', order_by="id desc", page_size=3)
    assert [each.id for each in first.items] == [ids[6], ids[4], ids[2]] and first.next_page_token
    with holdfast.connect(daemon.socket_path, workspace=store.workspace) as elsewhere:
        token = first.next_page_token
        rest = elsewhere.tasks.page(filter='priority = "low"', order_by="id desc", page_size=3, page_token=token)
    assert [each.id for each in rest.items] == [ids[0]] and rest.next_page_token == ""


def test_every_list_has_pages(store: holdfast.Store) -> None:
    session = store.sessions.create(title="s")
    task = store.tasks.create(title="t")
    for number in range(5):
        store.transcripts.append(session.id, role="note", content=str(number))
        store.events.save(task.id, type="one" if number else "two", message=str(number))
        store.checkpoints.save(session.id, context=str(number), tags=["t"])
        store.attachments.save(task.id, f"{number}.txt", b"x")
    for kind in KINDS.values():
        assert store.collection(kind.name).page(page_size=1).revision > 0
    told = [[each.transcript.content for each in page] for page in pages(store.transcripts.page, page_size=2)]
    assert told == [["0", "1"], ["2", "3"], ["4"]]
    newest = pages(store.transcripts.page, page_size=2, parent_kind="session", parent_id=session.id, descending=True)
    assert [each.transcript.content for each in newest[0]] == ["4", "3"]
    assert [len(page) for page in pages(store.events.page, type="one", page_size=3)] == [3, 1]
    assert [len(page) for page in pages(store.checkpoints.page, tag="t", page_size=4)] == [4, 1]
    assert len(store.checkpoints.page(session.id, tag="none").items) == 0
    assert [
        [each.name for each in page] for page in pages(lambda **how: store.attachments.page(task.id, **how), page_size=3)
    ] == [
        ["0.txt", "1.txt", "2.txt"],
        ["3.txt", "4.txt"],
    ]
    listed = [each.id for each in store.audit.query()]
    assert [each.id for page in pages(store.audit.page, page_size=4) for each in page] == listed and len(listed) > 8
    assert [each.action for each in store.audit.page("task", task.id).items] == ["insert"]
    assert [each.id for each in store.audit.page(task, kind="task").items] == [task.id]


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "bm90IGEgdG9rZW4=", "\0"])
def test_a_token_that_is_none_is_refused(store: holdfast.Store, token: str) -> None:
    store.tasks.create(title="t")
    for page in (store.tasks.page, store.transcripts.page, store.events.page, store.audit.page):
        with pytest.raises(holdfast.InvalidArgument, match="page_token"):
            page(page_token=token)


def test_a_token_of_another_list_is_refused(store: holdfast.Store) -> None:
    for number in range(3):
        store.tasks.create(title=str(number))
    token = store.tasks.page(page_size=1).next_page_token
    others: list[Callable[[], object]] = [
        lambda: store.tasks.page(page_token=token, filter='title = "1"'),
        lambda: store.tasks.page(page_token=token, order_by="title"),
        lambda: store.sessions.page(page_token=token),
        lambda: store.transcripts.page(page_token=token),
    ]
    for other in others:
        with pytest.raises(holdfast.InvalidArgument, match="page_token"):
            other()
