"""One client's connection to its daemon: calls with a deadline and retries, and the highest revision seen so far.

All calls of the package go through here. Thread-safe; a forked child opens a channel of its own at its first call. Writes can be
repeated because a retry carries the same request id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from holdfast.contract.versions import API_VERSION, method_name, need_of
from holdfast.errors import Closed, HoldfastError, InvalidArgument, TooLarge, Unavailable, VersionSkew
from holdfast.v1 import admin_service_pb2, store_service_pb2
from holdfast.wire import forks, trust
from holdfast.wire.agreement import Agreement, Metadata
from holdfast.wire.buffers import Buffering, Buffers
from holdfast.wire.cancellation import Cancellation, cancelled_error
from holdfast.wire.channel import MESSAGE_LIMIT_BYTES, Stubs, close_channel, open_channel
from holdfast.wire.retry import Patience
from holdfast.wire.status import error_of
from holdfast.wire.trust import CheckedSocket

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

PROBE_S = 0.03
BRIEF_SINCE = 3  # the version of the API in which a status can leave out what takes longer in a large store


class Search(Protocol):
    """Finds the socket of the daemon again, for an address that the client chose itself; see `autostart.py`."""

    def __call__(self, *, timeout_s: float) -> CheckedSocket:
        """Returns a checked socket. Raises Unavailable when no daemon serves the store in time."""


class _Line:
    """The state that a connection shares with its copies of other timeouts: channel, revision seen, API version, writers.

    `checked` is the check of `socket_path`; None for an address that the user gave.
    """

    def __init__(self, socket_path: Path | None, timeout_s: float) -> None:
        self.socket_path = socket_path
        self.checked: CheckedSocket | None = None
        self.lock = threading.Lock()
        self.stubs: Stubs | None = None
        self.closed = False
        self.revision = 0
        self.agreement = Agreement()
        self.writers = Buffers(timeout_s)
        forks.register(self)

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        self.writers.after_fork()
        if self.stubs is not None:
            close_channel(self.stubs)
            self.stubs = None


class Connection:
    """The channel, its reopening, and the retries. It has the socket that the user gave, or a search that finds one."""

    def __init__(self, to: Path | Search, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._cancellation: Cancellation | None = None
        self._search = None if isinstance(to, Path) else to
        self._line = _Line(to if isinstance(to, Path) else None, timeout_s)

    def with_cancellation(self, cancellation: Cancellation) -> Connection:
        """The same connection with calls that the cancellation ends. Closing either closes both."""
        other = copy(self)
        other._cancellation = cancellation
        return other

    def with_timeout(self, timeout_s: float) -> Connection:
        """The same connection with another timeout. Closing either closes both."""
        other = copy(self)
        other.timeout_s = timeout_s
        return other

    @property
    def cancellation(self) -> Cancellation | None:
        """What ends the calls of this connection, if anything."""
        return self._cancellation

    def patience(self, allowance_s: float = 0) -> Patience:
        """The time for one operation. Its pauses end when the connection's calls are cancelled."""
        if self._cancellation is None:
            return Patience(self.timeout_s + allowance_s)
        return Patience(self.timeout_s + allowance_s, self._cancellation.sleep)

    @property
    def revision(self) -> int:
        """The highest revision in any answer so far."""
        return self._line.revision

    def saw(self, revision: int) -> None:
        """Notes the revision of an answer."""
        with self._line.lock:
            self._line.revision = max(self._line.revision, revision)

    def open(self, patience_s: float) -> None:
        """Reaches the daemon, after finding it where no address was given, and agrees with it on an API version.

        Raises VersionSkew, StartFailed, or Unavailable when nobody answers within `patience_s`.
        """
        patience = Patience(self.timeout_s if self._search else min(patience_s, self.timeout_s))
        if self._search is not None:
            self._move(self._search(timeout_s=patience.remaining_s))
        try:
            self._agree(patience)
        except Unavailable as error:
            raise self._nobody(error) from None

    def add_writer(self, writer: Buffering) -> None:
        """Registers a writer, for as long as it exists: `flush_writers`, `close` and the end of the program flush it."""
        self._line.writers.add(writer)

    def flush_writers(self) -> None:
        """Waits until all entries that the writers have taken are durable. Raises the error that ended one of them."""
        self._line.writers.settle()

    def close(self) -> None:
        """Flushes and closes the writers, within the timeout, then closes the channel, also if the flush raises.

        Calls that still run end with Closed or Cancelled. Closing twice does nothing.
        """
        line = self._line
        try:
            if not line.closed:
                line.writers.finish(self.timeout_s)
        finally:
            with line.lock:
                stubs, line.stubs, line.closed = line.stubs, None, True
            if stubs is not None:
                close_channel(stubs)

    def stubs(self) -> Stubs:
        """The stubs on this process's channel. Opens the channel if there is none.

        gRPC reconnects by itself, so each call checks first that the socket's directory is still the one that was checked.
        """
        line = self._line
        if self._search is not None and not line.closed and not (line.checked and line.checked.is_current()):
            self._move(self._search(timeout_s=self.timeout_s))
        if (current := line.stubs) is not None:
            return current
        with line.lock:
            if line.closed:
                raise Closed("The store is closed.")
            if line.stubs is None:
                assert line.socket_path is not None
                line.stubs = open_channel(line.socket_path)
            return line.stubs

    def call(
        self,
        method: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        patience: Patience | None = None,
    ) -> Response:
        """Makes a unary call and returns the answer. Retries while the daemon is away or busy, within `timeout_s` in all."""
        patience = patience or self.patience()
        while True:
            stubs, metadata = self.stubs(), self.metadata_for(request)
            try:
                if self._cancellation is None:
                    with forks.calls:
                        response = method(stubs)(request, timeout=patience.remaining_s, metadata=metadata)
                else:
                    response = self.attempt(method(stubs), request, request, patience, metadata, patience.remaining_s)
            except grpc.RpcError as failure:
                error = self.translated(failure, request)
            except ValueError as failure:
                error = self._misused(failure)
            else:
                self.saw(getattr(response, "revision", 0))
                return response
            self.recover(error, patience)

    def supports(self, version: int) -> bool:
        """Whether the daemon has an API version. Asks it again if it had not: it may have been upgraded."""
        if self._line.agreement.has < version:
            self._ask_again()
        return self._line.agreement.has >= version

    def speaks(self, version: int) -> bool:
        """Whether the daemon had an API version when it was asked last."""
        return self._line.agreement.has >= version

    def attempt(
        self, method: Any, sent: Any, request: Message, patience: Patience, metadata: Metadata, timeout_s: float | None
    ) -> Any:
        """Makes one attempt of a call that another thread can cancel. `sent` is the request, or the frames of an upload.

        Raises Cancelled, and the errors of gRPC.
        """
        with forks.calls:
            if self._cancellation is None:
                return method(sent, timeout=timeout_s, metadata=metadata)
            self.check_cancelled(request, patience)
            patience.begun = True
            answer = self._cancellation.result_of(method.future(sent, timeout=timeout_s, metadata=metadata))
        if answer is None:
            raise cancelled_error(request, begun=True)
        return answer

    def metadata_for(self, request: Message) -> Metadata:
        """Returns the metadata to send with a request. Raises VersionSkew when the daemon is too old for the request."""
        agreement = self._line.agreement
        if agreement.has < API_VERSION:
            need = need_of(request)
            if need.version > agreement.has:
                self._ask_again()
                agreement.check(need)
        return agreement.metadata

    def translated(self, failure: grpc.RpcError, request: Message) -> HoldfastError:
        """The client's error for a failed call; Closed when it failed because the store was closed meanwhile."""
        if self._line.closed:
            return Closed("The store was closed during the call.")
        error = error_of(failure, method_name(request))
        return told_what_to_do(error, request)

    def recover(self, error: HoldfastError, patience: Patience) -> None:
        """Waits until the call may be tried again; raises `error` when a retry cannot help or the time is up.

        A daemon that was upgraded or downgraded may refuse the API version of the call: the caller then retries at once with
        the version that was agreed anew.
        """
        if isinstance(error, VersionSkew) and self._line.agreement.settle(error.metadata):
            return
        patience.pause_after(error)
        if not isinstance(error, Unavailable) or self._is_cancelled():
            return
        if self._search is not None:
            self._move(self._search(timeout_s=patience.remaining_s))
            return
        assert self._line.socket_path is not None
        while not trust.answers(self._line.socket_path):
            if patience.remaining_s <= PROBE_S or self._line.closed:
                raise error
            patience.sleep(PROBE_S)
            if self._is_cancelled():
                return

    def check_cancelled(self, request: Message, patience: Patience) -> None:
        """Raises Cancelled if the connection's calls were cancelled."""
        if self._is_cancelled():
            raise cancelled_error(request, begun=patience.begun)

    def _is_cancelled(self) -> bool:
        return self._cancellation is not None and self._cancellation.cancelled

    def _agree(self, patience: Patience) -> None:
        """Settles the version of the API with the daemon; asks again when the daemon refuses the one that was tried first."""
        agreement = self._line.agreement
        while True:
            brief = agreement.spoken >= BRIEF_SINCE
            request = admin_service_pb2.AdminServiceGetStatusRequest(api_version=agreement.spoken, brief=brief)
            try:
                status = self.call(lambda stubs: stubs.admin.GetStatus, request, patience=patience)
            except VersionSkew:
                if request.api_version == agreement.spoken:
                    raise
                continue
            oldest, newest = str(status.min_api_version), str(status.max_api_version)
            agreement.settle({"min": oldest, "max": newest, "daemon_version": status.daemon_version})
            return

    def _ask_again(self) -> None:
        """Asks the daemon for its versions again: it may have been upgraded, or support more than it reports."""
        patience = Patience(self.timeout_s)
        self._agree(patience)
        if self._line.agreement.has == 1 and self._scans(patience):
            self._line.agreement.more_than_said(2)

    def _scans(self, patience: Patience) -> bool:
        """Whether the daemon knows Scan. The last release that reports version 1 supports all of version 2, including Scan."""
        request = store_service_pb2.StoreServiceScanRequest()  # without lists: refused by a daemon that knows the method
        try:
            with forks.calls:
                list(self.stubs().store.Scan(request, timeout=patience.remaining_s, metadata=self._line.agreement.metadata))
        except grpc.RpcError as failure:
            return isinstance(error_of(failure), InvalidArgument)
        return True

    def _move(self, found: CheckedSocket) -> None:
        """Switches to the socket that was found, unless it is the one in use and its directory is the same."""
        line = self._line
        with line.lock:
            if found == line.checked:
                return
            stubs, line.stubs, line.socket_path, line.checked = line.stubs, None, found.path, found
        if stubs is not None:
            close_channel(stubs)

    def _misused(self, failure: ValueError) -> HoldfastError:
        """Translates grpcio's ValueError on a closed channel: Closed if the store was closed, Unavailable if its socket moved."""
        if self._line.closed:
            return Closed("The store is closed.")
        if self._line.stubs is None:
            return Unavailable("The connection is being renewed.")
        raise failure

    def _nobody(self, error: Unavailable) -> Unavailable:
        hint = "Start one with `holdfastd --data-dir DIR --socket PATH`, or connect without an address."
        return Unavailable(f"No daemon answers at {self._line.socket_path}: {error.message}. {hint}", metadata=error.metadata)


def told_what_to_do(error: HoldfastError, request: Message) -> HoldfastError:
    """The error of a call; for a request above the limit, which gRPC refuses without saying what to do, one that says it."""
    if not isinstance(error, TooLarge) or request.ByteSize() <= MESSAGE_LIMIT_BYTES:
        return error
    return TooLarge(
        f"The request has {request.ByteSize():,} bytes; the limit is 16 MiB ({MESSAGE_LIMIT_BYTES:,} bytes). "
        "Split it into several calls, or put large content into a blob.",
        metadata={"limit": str(MESSAGE_LIMIT_BYTES)},
    )
