"""Drawing a graph as trees: every node is shown, and the output is finite."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.forest import MAX_RAILS, all_rows, below, roots_of, rows

NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=7)


@given(GRAPHS)
def test_every_node_is_shown_and_its_children_only_once(parents: dict[str, list[str]]) -> None:
    children = below(parents)
    found = list(all_rows(children))
    assert {each.id for each in found} == set(parents)
    whole = [each for each in found if not each.seen and children[each.id]]
    assert len({each.id for each in whole}) == len(whole)
    assert len(found) <= len(parents) + sum(map(len, children.values()))


def test_a_cycle_is_shown_and_ends() -> None:
    children = below({"a": ["b"], "b": ["a"], "c": []})
    assert roots_of(children) == ["c"]
    assert [(each.rails, each.id, each.seen) for each in all_rows(children)] == [
        ("", "c", False),
        ("", "a", False),
        ("└─ ", "b", False),
        ("   └─ ", "a", True),
    ]


def test_a_long_chain_neither_recurses_nor_moves_right_for_ever() -> None:
    chain = {str(number): [str(number - 1)] for number in range(5_000)}
    found = list(rows(below(chain), ["0"]))
    assert len(found) == 5_000
    assert max(len(each.rails) for each in found) <= 3 * (MAX_RAILS + 1)
