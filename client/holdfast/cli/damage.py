"""What the command line adds to an error about a damaged record: the commands that replace or delete it."""

from __future__ import annotations

from holdfast.contract.kinds import KINDS
from holdfast.errors import DataLoss, HoldfastError


def with_commands(error: HoldfastError) -> HoldfastError:
    """The error. For a record of which no copy is intact, its message also says which commands replace and delete it."""
    kind = KINDS.get(error.metadata.get("kind", ""))
    if isinstance(error, DataLoss) and error.reason == "RECORD_DAMAGED" and kind is not None:
        record = f"{kind.name} {error.metadata.get('id', '')}"
        error.message += f" On the command line: `holdfast delete {record}`"
        if not kind.immutable:
            fields = " ".join(f"{each.name}=…" for each in kind.fields if not each.output_only and each.name != "id")
            error.message += f", or `holdfast set {record}` with all of these fields (`FIELD=` for an empty one): {fields}"
    return error
