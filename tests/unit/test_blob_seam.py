"""All stored bytes pass through one function when written and one when read, so that encryption could be added there."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from holdfastd.blobs.files import StoredContent, StoredFile
from holdfastd.blobs.spool import Spool
from holdfastd.errors import DataLoss
from holdfastd.model.call import Call
from holdfastd.service.blobs.contents import BlobContents
from holdfastd.store.blobs import Link
from tests.unit.blob_rig import rig

CIPHER = bytes(each ^ 0x5A for each in range(256))


class Deciphered:
    """Decrypted stored bytes."""

    def __init__(self, stored: StoredFile | StoredContent) -> None:
        self._stored = stored
        self.size, self.close = stored.size, stored.close

    def read_at(self, offset: int, length: int) -> bytes:
        return self._stored.read_at(offset, length).translate(CIPHER)


def cipher(patch: pytest.MonkeyPatch) -> None:
    """Replaces the two functions by ones that encrypt and decrypt."""
    write, open_link = Spool.write, BlobContents._open

    def open_deciphered(self: BlobContents, link: Link) -> Deciphered:
        return Deciphered(open_link(self, link))

    patch.setattr(Spool, "write", lambda self, data: write(self, data.translate(CIPHER)))
    patch.setattr(BlobContents, "_open", open_deciphered)


def test_a_cipher_in_two_places_covers_every_sort_of_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = random.Random(5).randbytes(1_000_000).hex().encode()
    noise = os.urandom(1_500_000)
    with rig(tmp_path, cache_bytes=0) as store, monkeypatch.context() as patch:
        cipher(patch)
        contents = {"zstd file": text, "raw file": noise, "zstd row": b"x" * 1000}
        puts = {name: store.put(content) for name, content in contents.items()}
        contents |= {"delta row": text + b"more", "delta file": text[:900_000] + noise[:90_000] + text[900_000:]}
        for name in ("delta row", "delta file"):
            puts[name] = store.put(contents[name], base=puts["zstd file"].digest)
        rows = {name: store.blobs.stat(put.digest, Call()).row for name, put in puts.items()}
        assert {name: f"{row.codec} {'file' if row.path else 'row'}" for name, row in rows.items()} == {
            name: name for name in puts
        }
        for name, put in puts.items():
            assert store.get(put.digest) == contents[name], name
            assert store.get(put.digest, 10, 500) == contents[name][10:510], name
        assert store.problems() == []
        assert (tmp_path / rows["raw file"].path).read_bytes() == noise.translate(CIPHER)
        patch.undo()
        for name, put in puts.items():
            with pytest.raises(DataLoss):
                store.get(put.digest)
            assert ("blob_damaged", put.digest) in store.problems(), name
