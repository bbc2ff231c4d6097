"""The blob codec: seekable zstd frames that `zstd -d` can read, raw bytes where zstd saves nothing, and deltas."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.contract.trim import common_prefix, common_suffix, trim
from holdfastd.blobs import codec as codec_module
from holdfastd.blobs import seekable
from holdfastd.blobs.codec import Damaged, Encoder, plain_chunks
from holdfastd.blobs.delta import Cut, decode_delta, encode_delta
from holdfastd.blobs.files import StoredContent
from holdfastd.model.blobs import digest_of

TEXT = b"".join(b"line %d of a long and repetitive log, nothing to see\n" % number for number in range(60_000))


class Collected:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def encoded(content: bytes, chunk: int = 300_000) -> tuple[Encoder, bytes]:
    sink = Collected()
    encoder = Encoder(sink)
    for start in range(0, len(content), chunk):
        encoder.feed(content[start : start + chunk])
    encoder.finish()
    return encoder, sink.data


def plain(data: bytes, codec: str, size: int, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join(plain_chunks(StoredContent(data), codec, size, offset, size - offset if length is None else length))


@pytest.mark.parametrize(
    "content", [b"", b"a", TEXT[:1000], TEXT[: seekable.FRAME_BYTES], TEXT[: seekable.FRAME_BYTES + 1], TEXT]
)
def test_what_was_encoded_comes_back(content: bytes) -> None:
    encoder, data = encoded(content)
    assert plain(data, encoder.codec, len(content)) == content
    assert encoder.digest == digest_of(content)
    assert encoder.stored_digest == digest_of(data)
    assert (encoder.size_bytes, encoder.stored_bytes) == (len(content), len(data))


def test_incompressible_bytes_are_raw() -> None:
    content = random.Random(1).randbytes(3_000_000)
    encoder, data = encoded(content)
    assert encoder.codec == "raw"
    assert data == content
    assert plain(data, "raw", len(content), 1_500_000, 1_200_000) == content[1_500_000:2_700_000]


def test_the_zstd_program_reads_the_file(tmp_path: Path) -> None:
    _, data = encoded(TEXT)
    (tmp_path / "blob.zst").write_bytes(data)
    if shutil.which("zstd"):
        done = subprocess.run(["zstd", "-dc", str(tmp_path / "blob.zst")], capture_output=True, check=True)
        assert done.stdout == TEXT
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    assert reader.read() == TEXT


def test_a_range_reads_only_the_frames_that_it_touches() -> None:
    class Counting(StoredContent):
        taken = 0

        def read_at(self, offset: int, length: int) -> bytes:
            Counting.taken += length
            return super().read_at(offset, length)

    _, data = encoded(TEXT)
    assert b"".join(plain_chunks(Counting(data), "zstd", len(TEXT), 2_000_000, 10)) == TEXT[2_000_000:2_000_010]
    assert Counting.taken < len(data) * 0.6


@given(st.binary(min_size=1, max_size=400), st.integers(1, 64), st.data())
@settings(max_examples=60, deadline=None)
def test_any_range_of_many_small_frames(content: bytes, frame: int, data: st.DataObject) -> None:
    content = content * 3
    offset = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, len(content) - offset))
    with pytest.MonkeyPatch.context() as patch:
        for module in (codec_module, seekable):
            patch.setattr(module, "FRAME_BYTES", frame)
        patch.setattr(codec_module, "_PAYS", 1e9)
        encoder, stored = encoded(content, chunk=50)
        assert encoder.codec == "zstd"
        assert plain(stored, "zstd", len(content), offset, length) == content[offset : offset + length]


@given(st.integers(0), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_damaged_byte_never_comes_out_as_content(position: int, flip: int) -> None:
    encoder, stored = encoded(TEXT)
    broken = bytearray(stored)
    broken[position % len(broken)] ^= flip
    with contextlib.suppress(Damaged):
        assert plain(bytes(broken), encoder.codec, len(TEXT)) == TEXT  # e.g. a flipped bit that zstd ignores


def agreeing(a: bytes, b: bytes) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_trim_finds_all_that_is_common(a: bytes, b: bytes, c: bytes) -> None:
    base, content = a + b + c, a + c
    prefix, suffix = trim(base, content)
    assert base[:prefix] == content[:prefix]
    assert base[len(base) - suffix :] == content[len(content) - suffix :]
    assert prefix == agreeing(base, content)
    assert prefix + suffix == min(len(base), len(content))


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 60), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_prefix_and_suffix_across_chunks(a: bytes, b: bytes, limit: int, chunks: int) -> None:
    filler = b"x" * (chunks * 65_536)
    left, right = filler + a, filler + b
    assert common_prefix(left, right) == agreeing(left, right)
    left, right = a + filler, b + filler
    expected = agreeing(left[::-1], right[::-1])
    assert common_suffix(left, right, limit) == min(expected, limit)
    assert common_suffix(left, right, 10**9) == expected


@given(st.lists(st.binary(max_size=80), max_size=12), st.lists(st.binary(max_size=80), max_size=12), st.binary(max_size=200))
@example([], [], b"")
@settings(max_examples=150, deadline=None)
def test_a_delta_rebuilds_its_content(before: list[bytes], after: list[bytes], shared: bytes) -> None:
    base = b"".join(before) + shared + b"".join(after)
    content = b"".join(after) + shared + b"".join(before)
    for new in (content, base, base + content, base[: len(base) // 2], b""):
        payload = encode_delta(base, new, Cut.between(base, new))
        assert decode_delta(base, payload, len(new)) == new


@given(st.binary(min_size=1, max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_a_delta_may_use_a_shorter_prefix_and_suffix(content: bytes, prefix: int, suffix: int) -> None:
    longest = Cut.between(content, content + b"!" + content)
    cut = Cut(min(prefix, longest.prefix), min(suffix, longest.suffix))
    payload = encode_delta(content, content + b"!" + content, cut)
    assert decode_delta(content, payload, 2 * len(content) + 1) == content + b"!" + content


def test_a_delta_of_two_distant_edits_is_small() -> None:
    base = random.Random(2).randbytes(1_000_000).hex().encode()  # zstd alone can't compress this much
    content = base[:1000] + b"first edit" + base[1000:-1000] + b"second edit" + base[-1000:]
    assert len(encode_delta(base, content, Cut.between(base, content))) < 10_000


@given(st.binary(max_size=120), st.integers(0, 4000))
def test_random_bytes_are_reported_as_damage(payload: bytes, size: int) -> None:
    with pytest.raises(Damaged):
        decode_delta(b"base" * 10, payload, size)


def test_a_delta_on_another_base_gives_another_digest() -> None:
    payload = encode_delta(TEXT[:5000], TEXT[:5000] + b"more", Cut.between(TEXT[:5000], TEXT[:5000] + b"more"))
    with pytest.raises(Damaged):
        decode_delta(TEXT[:100], payload, 5004)
    other = hashlib.sha256(decode_delta(b"x" * 5000, payload, 5004)).hexdigest()
    assert other != digest_of(TEXT[:5000] + b"more")  # the reader compares the digest
