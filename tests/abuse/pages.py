"""Which bytes of a SQLite database are in use, read from the file as SQLite's description of the format says.

https://www.sqlite.org/fileformat2.html. Bytes that no structure reaches are free space: pages and parts of pages in the freelist,
gaps within b-tree pages, and the rest of the last page of a long row.
"""

from __future__ import annotations

_LEAF_TABLE, _INNER_TABLE, _LEAF_INDEX, _INNER_INDEX = 13, 5, 10, 2
_HEADER_BYTES = 100
_POINTER_BYTES = 5
# Fields of the header that no read depends on, by their offsets.
_UNREAD = {
    "change counter": range(24, 28),
    "schema cookie": range(40, 44),
    "suggested cache size": range(48, 52),
    "user version": range(60, 64),
    "application id": range(68, 72),
    "reserved for expansion": range(72, 92),
    "version of the last writer": range(92, 100),
}


class Pages:
    """The structure of one database file, whose b-trees have these root pages."""

    def __init__(self, data: bytes, roots: list[int]) -> None:
        self._data = data
        self._size = int.from_bytes(data[16:18]) if data[16:18] != b"\0\1" else 65536
        self._usable = self._size - data[20]
        self._count = len(data) // self._size
        self._used = bytearray(len(data))
        self._pointers = range(0)
        self._mark(0, _HEADER_BYTES)
        self._walk_freelist()
        for root in [1, *roots]:
            self._walk(root)

    def place_of(self, at: int) -> str:
        """The name of the free space or of the unread field that holds the byte; empty when a row or a page depends on it."""
        for name, offsets in _UNREAD.items():
            if at in offsets:
                return f"header: {name}"
        if self._is_pointer_map(page := at // self._size + 1):
            return "pointer map" if page + at % self._size // _POINTER_BYTES + 1 <= self._count else "free space"
        return "" if self._used[at] else "free space"

    def _is_pointer_map(self, page: int) -> bool:
        """Pages 2, 2 + n, ... of a database with auto-vacuum, where each has the entries of the n - 1 pages after it."""
        has_map = self._number(52, 4) != 0
        return has_map and page >= 2 and (page - 2) % (self._usable // _POINTER_BYTES + 1) == 0

    def _mark(self, start: int, length: int) -> None:
        self._used[start : start + length] = b"\1" * length

    def _number(self, at: int, length: int) -> int:
        return int.from_bytes(self._data[at : at + length])

    def _varint(self, at: int) -> tuple[int, int]:
        """The number at this place, and the place after it."""
        value = 0
        for length in range(8):
            byte = self._data[at + length]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, at + length + 1
        return value << 8 | self._data[at + 8], at + 9

    def _walk_freelist(self) -> None:
        page = self._number(32, 4)
        while page:
            start = (page - 1) * self._size
            self._mark(start, 8 + 4 * self._number(start + 4, 4))
            page = self._number(start, 4)

    def _walk(self, page: int) -> None:
        start = (page - 1) * self._size
        head = start + (_HEADER_BYTES if page == 1 else 0)
        kind, cells = self._data[head], self._number(head + 3, 2)
        inner = kind in (_INNER_TABLE, _INNER_INDEX)
        pointers = head + (12 if inner else 8)
        self._mark(head, pointers - head + 2 * cells)
        self._walk_freeblocks(start, self._number(head + 1, 2))
        for cell in range(cells):
            self._walk_cell(kind, start + self._number(pointers + 2 * cell, 2))
        if inner:
            self._walk(self._number(head + 8, 4))

    def _walk_freeblocks(self, start: int, offset: int) -> None:
        """Marks the head of each block, its next block and its size."""
        while offset:
            self._mark(start + offset, 4)
            offset = self._number(start + offset, 2)

    def _walk_cell(self, kind: int, at: int) -> None:
        place = at
        if kind in (_INNER_TABLE, _INNER_INDEX):
            self._walk(self._number(at, 4))
            place += 4
        if kind == _INNER_TABLE:
            _, place = self._varint(place)
            self._mark(at, place - at)
            return
        payload, place = self._varint(place)
        if kind == _LEAF_TABLE:
            _, place = self._varint(place)
        local = self._local(kind, payload)
        self._mark(at, max(place - at + local + (4 if local < payload else 0), 4))
        if local < payload:
            self._walk_overflow(self._number(place + local, 4), payload - local)

    def _local(self, kind: int, payload: int) -> int:
        """How many bytes of the payload are in the cell itself."""
        most = self._usable - 35 if kind == _LEAF_TABLE else (self._usable - 12) * 64 // 255 - 23
        least = (self._usable - 12) * 32 // 255 - 23
        if payload <= most:
            return payload
        kept = least + (payload - least) % (self._usable - 4)
        return kept if kept <= most else least

    def _walk_overflow(self, page: int, left: int) -> None:
        while left > 0:
            start, length = (page - 1) * self._size, min(left, self._usable - 4)
            self._mark(start, 4 + length)
            page, left = self._number(start, 4), left - length
