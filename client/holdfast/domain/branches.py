"""Branches of the code, and the time of the last activity on each."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.contract.kinds import KINDS
from holdfast.records.collection import Collection
from holdfast.records.watch import Watch
from holdfast.records.writes import CollectionWrites
from holdfast.values import views
from holdfast.values.filters import both, quoted_time
from holdfast.wire.pages import Found, Listing, OnUnreadable


class BranchWrites(CollectionWrites["views.Branch"]):
    """Writes branches. Methods take the name of a branch, or its id."""

    def update(self, id: str | views.Branch | Message, /, *, version: int = 0, **fields: object) -> views.Branch:
        """As `update` of every record; `id` may be the branch's name."""
        return super().update(branch_id(id) if isinstance(id, str) else id, version=version, **fields)

    def delete(self, id: str, /, *, version: int = 0, cascade: bool = False) -> None:
        """As `delete` of every record; `id` may be the branch's name."""
        super().delete(branch_id(id), version=version, cascade=cascade)

    def touch(self, name: str, /) -> views.Branch:
        """Sets the time of the last activity on the branch to now. Raises NotFound."""
        return self.update(name, activity_time=datetime.datetime.now(datetime.UTC))

    def set_status(self, name: str, status: str, /) -> views.Branch:
        """Sets the status of the branch, such as `merged`. Raises NotFound."""
        return self.update(name, status=status)


class Branches(BranchWrites, Collection["views.Branch"]):
    """The branches of one workspace. Thread-safe.

    A branch's name has at most 1,024 bytes. It is also the branch's id if it has at most 200 bytes; the id of a longer name is
    made of its beginning and its hash. Methods take the name of a branch, or its id.
    """

    def get(self, id: str, /) -> views.Branch:
        """Returns the branch with that name. Raises NotFound."""
        return super().get(branch_id(id))

    def exists(self, id: str, /) -> bool:
        """Whether there is a branch with that name. Raises DataLoss if it exists and cannot be read."""
        return super().exists(branch_id(id))

    def batch_get(self, ids: Iterable[str], /, *, on_unreadable: OnUnreadable | None = None) -> Found[views.Branch]:
        """As `batch_get` of every record; `ids` may be names. The result has the branches by what was asked for."""
        asked = {branch_id(each): each for each in ids}
        stored = super().batch_get(asked, on_unreadable=on_unreadable)
        found = Found[views.Branch]((asked[id], each) for id, each in stored.items())
        found.unreadable = stored.unreadable
        return found

    def watch(
        self, *, ids: Iterable[str] = (), since: int | None = None, cursor: str = "", on_unreadable: OnUnreadable | None = None
    ) -> Watch:
        """As `watch` of every record; `ids` may be names."""
        return super().watch(ids=[branch_id(each) for each in ids], since=since, cursor=cursor, on_unreadable=on_unreadable)

    def history(self, id: str, /, *, on_unreadable: OnUnreadable | None = None) -> Iterator[views.Change]:
        """As `history` of every record; `id` may be the branch's name."""
        return super().history(branch_id(id), on_unreadable=on_unreadable)

    def stale(
        self,
        before: datetime.datetime | Timestamp,
        /,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        limit: int | None = None,
        on_unreadable: OnUnreadable | None = None,
    ) -> Listing[views.Branch]:
        """Yields the active branches without activity since `before`. A branch never touched counts from its creation."""
        time = quoted_time(before)
        untouched = f"(activity_time = null AND create_time < {time})"
        wanted = f'status = "active" AND (activity_time < {time} OR {untouched})'
        return self._listed(both(wanted, filter), order_by, page_size, limit, on_unreadable)


def branch_id(name: str) -> str:
    """Returns the id of the branch with that name. The id of a branch is that of itself."""
    return KINDS["branch"].fitted_id(name)
