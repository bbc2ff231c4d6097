"""Frames of JournalService.Read, put together from the images of entries without decoding them.

In protobuf's encoding a repeated field is its tag, a length and the bytes of the element, once for each element. So a frame is
these for each image, and after them the encoded other fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.contract.kinds import Journal
from holdfast.v1 import journal_service_pb2 as pb
from holdfast.v1.store_service_pb2 import Unreadable
from holdfastd.model.entry_images import varint
from holdfastd.service.answers import MAX_ANSWER_BYTES, ROOM_FOR_THE_REST, Encoded
from holdfastd.store.pages import DamagedImage, Image

_ENTRY_TAG = varint(pb.JournalServiceReadResponse.DESCRIPTOR.fields_by_name["entries"].number << 3 | 2)
_TAG_AND_LENGTH = 8  # at most
_HEADS = tuple(_ENTRY_TAG + varint(size) for size in range(4096))  # tag and length of the usual entries


class EntryFrame:
    """A frame that is being filled. `entries` is their number."""

    def __init__(self, first_number: int, last_number: int, revision: int) -> None:
        self._rest = pb.JournalServiceReadResponse(first_number=first_number, last_number=last_number, revision=revision)
        self._parts: list[bytes] = []
        self.entries = 0

    @property
    def unreadable(self) -> Sequence[Unreadable]:
        """The entries that could not be read."""
        return self._rest.unreadable

    def fill(self, journal: Journal, images: Iterable[tuple[int, Image]]) -> int:
        """Adds entries until the frame is full. Returns how many were taken, readable or not. The first always fits."""
        left, taken, parts = MAX_ANSWER_BYTES - ROOM_FOR_THE_REST, 0, self._parts
        for number, image in images:
            if isinstance(image, DamagedImage):
                self._rest.unreadable.add(kind=journal.name, id=str(number), reason=image.reason)
            else:
                left -= len(image) + _TAG_AND_LENGTH
                if left < 0 and self.entries:
                    return taken
                self.entries += 1
                size = len(image)
                parts += (_HEADS[size] if size < len(_HEADS) else _ENTRY_TAG + varint(size), image)
            taken += 1
        return taken

    def encoded(self) -> Encoded:
        """The encoded JournalServiceReadResponse."""
        return Encoded(b"".join((*self._parts, self._rest.SerializeToString())))
