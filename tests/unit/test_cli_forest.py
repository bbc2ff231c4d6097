"""Drawing a graph as trees: every node is shown, and the output is finite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.graph import MAX_DEPTH, all_rows, below, draw, rows
from holdfast.cli.lineage import Node

NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=7)


@given(GRAPHS)
def test_every_node_is_shown_and_only_once_with_what_is_below_it(parents: dict[str, list[str]]) -> None:
    children = below(parents)
    found = list(all_rows(children))
    assert {each.id for each in found} == set(parents)
    whole = [each for each in found if not each.seen and children[each.id]]
    assert len({each.id for each in whole}) == len(whole)
    assert len(found) <= len(parents) + sum(map(len, children.values()))


def test_a_cycle_is_shown_and_ends() -> None:
    children = below({"a": ["b"], "b": ["a"], "c": []})
    assert [(each.depth, each.id, each.seen) for each in all_rows(children)] == [
        (0, "c", False),
        (0, "a", False),
        (1, "b", False),
        (2, "a", True),
    ]


def test_a_long_chain_neither_recurses_nor_moves_right_for_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    chain = {str(number): [str(number - 1)] for number in range(5_000)}
    nodes = {id: Node(id, tuple(parents), (), "") for id, parents in chain.items()}
    draw(nodes, rows(below(chain), ["0"]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == list(chain)
    assert max(map(len, lines)) == 3 * (MAX_DEPTH) + 4


def test_a_forest_is_drawn_as_trees_of_three_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    parents = {"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": []}
    nodes = {id: Node(id, tuple(above), (f"[red]{id}[/red] :smile:",), "") for id, above in parents.items()}
    draw(nodes, all_rows(below(parents)))
    assert capsys.readouterr().out == "".join(
        f"{rails}{id}  [red]{id}[/red] :smile:\n"
        for rails, id in (("", "a"), ("├─ ", "b"), ("│  └─ ", "d"), ("└─ ", "c"), ("", "e"))
    )
