"""The gRPC channel to one socket and the stubs on it.

A channel belongs to the process that opened it. A forked child opens its own and keeps a reference to its parent's in
`_abandoned`: closing or collecting that one in the child would act on the parent's connection and on threads that do not exist.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import grpc

from holdfast.v1.admin_service_pb2_grpc import AdminServiceStub
from holdfast.v1.blob_service_pb2_grpc import BlobServiceStub
from holdfast.v1.journal_service_pb2_grpc import JournalServiceStub
from holdfast.v1.store_service_pb2_grpc import StoreServiceStub
from holdfast.wire import forks
from holdfast.wire.address import check_socket_path

MESSAGE_LIMIT_BYTES = 16 << 20
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES + (1 << 16)),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)

_abandoned: list[grpc.Channel] = []


@dataclass(frozen=True, slots=True)
class Stubs:
    """The stubs of the services on one channel."""

    socket_path: Path
    generation: int
    channel: grpc.Channel
    store: StoreServiceStub
    journal: JournalServiceStub
    blob: BlobServiceStub
    admin: AdminServiceStub


def open_channel(socket_path: Path) -> Stubs:
    """Opens a channel and returns the stubs on it. It connects with the first call."""
    forks.check()
    check_socket_path(socket_path)
    channel = grpc.insecure_channel("unix:" + quote(os.fspath(socket_path)), options=_OPTIONS)
    return Stubs(
        socket_path=socket_path,
        generation=forks.generation,
        channel=channel,
        store=StoreServiceStub(channel),
        journal=JournalServiceStub(channel),
        blob=BlobServiceStub(channel),
        admin=AdminServiceStub(channel),
    )


def close_channel(stubs: Stubs) -> None:
    """Closes a channel of this process. Keeps one of the parent's, unclosed."""
    if stubs.generation == forks.generation:
        stubs.channel.close()
    else:
        _abandoned.append(stubs.channel)
