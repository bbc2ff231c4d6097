"""Writes the source of `holdfast.nouns`, which declares the collection of each kind for type checkers.

    python packaging/make_nouns.py >client/holdfast/nouns.py

Run by `packaging/generate.sh`, after the code that is generated from proto/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from holdfast.contract.kinds import KINDS, Kind
from holdfast.domain.collections import COLLECTIONS, WRITES
from holdfast.records.collection import Collection
from holdfast.records.writes import CollectionWrites

HEAD = '''"""Generated from the registry of kinds by `make generate`. Do not edit."""

from __future__ import annotations

'''


def main() -> None:
    """Prints the module."""
    print(HEAD + "\n".join(_imports()))
    for owner, plain, special in (("Store", Collection, COLLECTIONS), ("Transaction", CollectionWrites, WRITES)):
        print(f'\n\nclass {owner}Nouns:\n    """The collection of each kind in a {owner.lower()}."""\n')
        for kind in KINDS.values():
            print(f"    {kind.noun}: {_annotation(kind, plain, special)}")


def _imports() -> Iterator[str]:
    classes = {Collection, CollectionWrites, *COLLECTIONS.values(), *WRITES.values()}
    names: dict[str, list[str]] = {}
    for each in classes:
        names.setdefault(each.__module__, []).append(each.__name__)
    names["holdfast.values"] = ["views"]
    return (f"from {module} import {', '.join(sorted(found, key=str.lower))}" for module, found in sorted(names.items()))


def _annotation(kind: Kind, plain: type[Any], special: Mapping[str, type[Any]]) -> str:
    """The class of a kind's collection, with the kind's view as its argument if the class is generic."""
    made = special.get(kind.name, plain)
    view = f"[views.{kind.message_class.__name__}]"
    return made.__name__ + (view if any(isinstance(each, TypeVar) for each in getattr(made, "__parameters__", ())) else "")


if __name__ == "__main__":
    main()
