"""Uploads contexts. If a context shares its beginning and end with the last one, only the bytes between them are sent."""

from __future__ import annotations

import os
from typing import BinaryIO, TypeGuard

from holdfast.blobs.collection import Blobs
from holdfast.blobs.session_memory import Content
from holdfast.blobs.sources import source_of
from holdfast.contract.digests import hash_content
from holdfast.contract.trim import common_prefix, common_suffix
from holdfast.errors import BaseNotFound
from holdfast.v1 import blob_service_pb2

LEAST_SAVING_BYTES = 4096


def upload_context(blobs: Blobs, data: bytes, base: Content | None, kind: str) -> Content:
    """Uploads a context of a record of that kind and returns it with its digest.

    Sends a delta if it shares at least `LEAST_SAVING_BYTES` with `base`; the whole content otherwise, or if the store no longer
    has the base.
    """
    prefix = common_prefix(base.data, data) if base is not None else 0
    hashed = hash_content(data, base.hashed if base is not None else None, prefix)
    content = Content(hashed.digest, data, hashed)
    header = blob_service_pb2.BlobPutHeader(digest=content.digest, size_bytes=len(data), kind=kind)
    if base is not None:
        header.base_digest = base.digest
        suffix = common_suffix(base.data, data, min(len(base.data), len(data)) - prefix)
        if prefix + suffix >= LEAST_SAVING_BYTES:
            try:
                _send_middle(blobs, header, data, prefix, suffix)
                return content
            except BaseNotFound:
                header.base_digest = ""
    header.ClearField("delta")
    blobs.upload(header, source_of(data))
    return content


def is_file(context: object) -> TypeGuard[os.PathLike[str] | BinaryIO]:
    """Whether a context is a path (not a `str`, which is a text) or a file, whose bytes are streamed."""
    return isinstance(context, os.PathLike) or hasattr(context, "read")


def upload_file(blobs: Blobs, file: os.PathLike[str] | BinaryIO, base: Content | None, kind: str) -> str:
    """Uploads the bytes of a file or path in constant memory and returns the digest. The daemon may make a delta of them."""
    source = source_of(file)
    header = blob_service_pb2.BlobPutHeader(size_bytes=source.size_bytes, kind=kind)
    if base is not None:
        header.base_digest = base.digest
    return blobs.upload(header, source).digest


def _send_middle(blobs: Blobs, header: blob_service_pb2.BlobPutHeader, data: bytes, prefix: int, suffix: int) -> None:
    header.delta.prefix_bytes = prefix
    header.delta.suffix_bytes = suffix
    blobs.upload(header, source_of(memoryview(data)[prefix : len(data) - suffix]))
