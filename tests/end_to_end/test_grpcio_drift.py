"""A grpcio that keeps every name and changes one behaviour, at each place where `message_first` uses a private part.

With every change callers are answered or refused and never time out, `message_first` is switched off with one log line and a
warning, and later calls are answered. Only `message_first` sees the change, as if grpcio had adapted its own callers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.cli import main
from holdfast.v1 import admin_service_pb2
from holdfastd.daemon import EXIT_THREAD_DIED, Daemon
from holdfastd.errors import SetupError
from holdfastd.rpc import loopback, message_first, server
from holdfastd.rpc.handlers import UnaryHandler
from holdfastd.settings import load_settings
from tests.end_to_end.changed_grpcio import (
    CHANGES,
    GONE,
    OF_CALL,
    OF_CORE,
    OF_SERVER,
    Change,
    Changed,
    another_result,
    does_nothing,
    drift,
    raises_first,
    see,
    submitted,
)
from tests.end_to_end.daemons import Directory
from tests.end_to_end.served_calls import SERVICE, Served, eventually
from tests.support.api import Api

TIMEOUT_S = 5.0
REFUSALS = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED}
PLACES_AND_CHANGES = [(place, change) for place in (*OF_SERVER, *OF_CORE, *OF_CALL) for change in CHANGES]
# The result is not used, so the change has no effect.
HARMLESS = {
    ("_abort", another_result),
    ("_status", another_result),
    ("start_server_batch", another_result),
    ("due.add", another_result),
}
# These cause no error. Only the daemon's call to itself, before its socket is public, detects them.
SILENT = {("start_server_batch", does_nothing), ("message", does_nothing)}


def name_of(each: object) -> str:
    return str(getattr(each, "__name__", each))


@pytest.fixture
def serve() -> Iterator[Callable[[], Served]]:
    made: list[Served] = []
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:

        def start() -> Served:
            place = Path(directory, str(len(made)))
            place.mkdir()
            made.append(Served(place))
            return made[-1]

        yield start
        for each in made:
            each.channel.close()
            each.gate.close()
        assert all(event.wait(TIMEOUT_S) for event in [each.server.stop(0) for each in made]), "a call never ended"


def commit(served: Served) -> int:
    future = served.commit()
    assert eventually(lambda: bool(served.use_cases.posted) or future.done())
    if served.use_cases.posted:
        served.use_cases.finish(1)
    return int(future.result(TIMEOUT_S).revision)


def commit_of_one_who_left(served: Served) -> None:
    future = served.commit()
    assert eventually(lambda: bool(served.use_cases.posted) or future.done())
    future.cancel()
    assert eventually(lambda: not any(each.is_active() for each in served.use_cases.calls))
    while served.use_cases.posted:
        served.use_cases.finish(1)
    assert eventually(lambda: served.gate.active_calls() == 0)


def send_no_message(served: Served) -> None:
    served.channel.stream_unary(f"/{SERVICE.full_name}/AllocateId")(iter(()), timeout=TIMEOUT_S)


# One call of each sort, with its status code in an unchanged grpcio.
CALLS: dict[Callable[[Served], Any], grpc.StatusCode] = {
    lambda served: served.get("any"): grpc.StatusCode.OK,
    lambda served: served.allocate(): grpc.StatusCode.OK,
    lambda served: served.get("nobody"): grpc.StatusCode.NOT_FOUND,
    lambda served: served.allocate(actor="busy"): grpc.StatusCode.RESOURCE_EXHAUSTED,
    commit: grpc.StatusCode.OK,
    commit_of_one_who_left: grpc.StatusCode.OK,
    send_no_message: grpc.StatusCode.UNIMPLEMENTED,
}


def code_of(call: Callable[[Served], Any], served: Served) -> grpc.StatusCode:
    try:
        call(served)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
        return code
    return grpc.StatusCode.OK


def times_switched_off(serve: Callable[[], Served], caplog: pytest.LogCaptureFixture) -> int:
    """Makes each sort of call the first one to a new server, and checks that each server refuses at most one call."""
    switched_off = 0
    for first in CALLS:
        served = serve()
        caplog.clear()
        calls = [first, *CALLS, *CALLS]
        found = [code_of(call, served) for call in calls]
        refused = [(code, CALLS[call]) for code, call in zip(found, calls, strict=True) if code is not CALLS[call]]
        assert len(refused) <= 1
        assert {code for code, _ in refused} <= REFUSALS
        lines = [each for each in caplog.records if each.message == "message_first_off"]
        assert len(refused) <= len(lines) == len(served.gate.warnings())
        switched_off += len(lines)
        assert served.gate.active_calls() == 0
    return switched_off


@pytest.mark.parametrize(("place", "change"), [each for each in PLACES_AND_CHANGES if each not in SILENT], ids=name_of)
def test_a_changed_function_harms_nobody(
    place: str, change: Change, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drift(monkeypatch, place, change)
    switched_off = times_switched_off(serve, caplog)
    assert (switched_off == 0) == ((place, change) in HARMLESS)


@pytest.mark.parametrize("name", ["due", "condition", "client", "statused"])
def test_a_missing_attribute_of_a_call_harms_nobody(
    name: str, serve: Callable[[], Served], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submitted(monkeypatch, lambda args: [*args[:2], Changed(args[2], **{name: GONE}), *args[3:]])
    assert times_switched_off(serve, caplog)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("grpc_server", "_RECEIVE_MESSAGE_TOKEN", "another"),
        ("grpc_server", "_RECEIVE_MESSAGE_TOKEN", GONE),
        ("grpc_server", "_stream_response_in_pool", lambda: None),
        ("grpc_server", "_CANCELLED", GONE),
        ("cygrpc", "StatusCode", GONE),
    ],
)
def test_a_changed_constant_harms_nobody(
    module: str,
    name: str,
    value: object,
    serve: Callable[[], Served],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    see(monkeypatch, module, name, value)
    # Another token works: grpcio compares it only with itself.
    assert times_switched_off(serve, caplog) or value == "another"


@pytest.mark.parametrize(
    "change",
    [
        lambda args: [*args, None],
        lambda args: args[:-1],
        lambda args: [args[0], args[2], args[1], *args[3:]],
        lambda args: [*args[:3], args[4], args[3], *args[5:]],
    ],
    ids=["one more", "one less", "call and state change places", "handler and message change places"],
)
def test_changed_arguments_of_a_call_harm_nobody(
    change: Callable[[list[Any]], list[Any]],
    serve: Callable[[], Served],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    submitted(monkeypatch, change)
    assert times_switched_off(serve, caplog) == len(CALLS)


def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    drift(monkeypatch, "start_server_batch", does_nothing)


def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    drift(monkeypatch, "message", does_nothing)


def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates an uncaught failure, which ends grpcio's serving thread."""
    monkeypatch.setattr(message_first._Call, "on_message", raises_first(len))


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setattr(server, "fault_of", lambda socket: loopback.fault_of(socket, 1.5))
    with tempfile.TemporaryDirectory(prefix="hf-") as directory:
        settings = {"persistence": "memory", "data_dir": f"{directory}/data", "socket": f"{directory}/run/s.sock"}
        yield Daemon(load_settings(settings, {}))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", [silent, empty, deadly])
def test_a_daemon_whose_call_to_itself_fails_uses_grpcios_path(
    fault: Callable[[pytest.MonkeyPatch], None], in_memory: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    in_memory.open()
    with Api(in_memory.settings.socket) as api:
        (warning,) = api.admin.GetStatus(admin_service_pb2.AdminServiceGetStatusRequest(), timeout=TIMEOUT_S).warnings
        assert "slower way" in warning
        assert api.insert("task", title="x")
    in_memory.keep_reachable()
    in_memory.close()


def test_a_daemon_whose_calls_to_itself_all_fail_does_not_start(in_memory: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnaryHandler, "receive", lambda self, data, context, sender: sender.abort())
    with pytest.raises(SetupError, match=r"does not answer at its own socket: (AtOnce|InPool) was refused\. grpcio is "):
        in_memory.open()
    assert not in_memory.settings.socket.exists()


DYING = """\
import os, grpc._server
process = grpc._server._process_event_and_continue
def dying(state, event):
    if os.path.exists(os.environ["DIE"]):
        raise LookupError
    return process(state, event)
grpc._server._process_event_and_continue = dying
"""


@pytest.mark.slow
def test_a_serving_thread_that_dies_ends_the_process(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(DYING)
    die = directory.path / "die"
    daemon = directory.serve(PYTHONPATH=str(directory.path), DIE=str(die))
    with Api(daemon.socket, "default") as api:
        task = api.insert("task", title="x")
        die.touch()
        with pytest.raises(grpc.RpcError):
            api.insert("task", title="y")
    assert daemon.wait(TIMEOUT_S) == EXIT_THREAD_DIED
    assert "level=critical event=serving_thread_died" in daemon.log()
    die.unlink()
    with Api(directory.serve().socket, "default") as api:
        assert api.get("task", task).title == "x"


RENAMED = """
import threading, types
class Renamed(threading.Thread):
    def __init__(self, *given, **options):
        if getattr(options.get("target"), "__name__", "") == "_serve":
            options["name"] = "another"
        super().__init__(*given, **options)
grpc._server.threading = types.SimpleNamespace(**{name: getattr(threading, name) for name in dir(threading)})
grpc._server.threading.Thread = Renamed
"""


@pytest.mark.slow
def test_a_serving_thread_of_another_name_is_watched_too(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(DYING + RENAMED)
    die = directory.path / "die"
    daemon = directory.serve(PYTHONPATH=str(directory.path), DIE=str(die))
    with Api(daemon.socket, "default") as api:
        die.touch()
        with pytest.raises(grpc.RpcError):
            api.insert("task", title="y")
    assert daemon.wait(TIMEOUT_S) == EXIT_THREAD_DIED


WRITERLESS = """\
import os
import holdfastd.store.ledger as ledger
flush = ledger.Ledger.flush
def dying(*given):
    if os.path.exists(os.environ["DIE"]):
        raise SystemExit
    return flush(*given)
ledger.Ledger.flush = dying
"""


@pytest.mark.slow
def test_a_writer_thread_that_dies_ends_the_process(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(WRITERLESS)
    die = directory.path / "die"
    daemon = directory.serve(PYTHONPATH=str(directory.path), DIE=str(die))
    with Api(daemon.socket, "default") as api:
        task = api.insert("task", title="x")
        die.touch()
        with pytest.raises(grpc.RpcError):
            api.insert("task", title="y")
    assert daemon.wait(TIMEOUT_S) == EXIT_THREAD_DIED
    assert "level=critical event=writer_thread_died" in daemon.log()
    die.unlink()
    with Api(directory.serve().socket, "default") as api:
        assert api.get("task", task).title == "x"


THREADLESS = """\
import os, threading
start = threading.Thread.start
def limited(self):
    if os.path.exists(os.environ["DIE"]):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = limited
"""


@pytest.mark.slow
def test_a_stream_for_which_no_thread_starts_is_refused_alone(directory: Directory) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(THREADLESS)
    limit = directory.path / "limit"
    daemon = directory.serve(PYTHONPATH=str(directory.path), DIE=str(limit))
    with Api(daemon.socket, "default") as api:
        task = api.insert("task", title="x")
        assert api.get("task", task).title == "x"  # its thread refuses the streams
        limit.touch()
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                next(api.watch(after_revision=0))
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert api.get("task", task).title == "x"
        limit.unlink()
        assert next(api.watch(after_revision=0)).changes
    assert "level=critical" not in daemon.log()


@pytest.mark.slow
def test_the_daemons_calls_to_itself_are_for_nobody_else(directory: Directory) -> None:
    daemon = directory.serve()
    with grpc.insecure_channel(f"unix:{daemon.socket}") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/holdfastd.Loopback/AtOnce")(b"", timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


UNTESTED = """\
import grpc
grpc.__version__ = "1.99.0"
"""


@pytest.mark.slow
def test_status_warns_of_a_grpcio_that_was_not_tested(directory: Directory, capsys: pytest.CaptureFixture[str]) -> None:
    directory.path.joinpath("sitecustomize.py").write_text(UNTESTED)
    daemon = directory.serve(PYTHONPATH=str(directory.path))
    assert daemon.log().count("event=grpcio_not_tested grpcio=1.99.0") == 1
    assert main(["--socket", str(daemon.socket), "status"]) == 0
    assert "not tested with grpcio 1.99.0" in capsys.readouterr().out
