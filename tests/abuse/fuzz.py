"""Malformed calls of every method, from the descriptors: no INTERNAL, no UNKNOWN, no hang, bounded memory, a clean store."""

from __future__ import annotations

import itertools
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from tests.abuse import frames, inputs
from tests.abuse.attack import Attack, described
from tests.abuse.inputs import Input
from tests.support.api import MAX_MESSAGE_BYTES, Api, append, insert
from tests.support.memory import watched

INPUTS, SHORT_INPUTS = 20_000, 3_000
RAW_INPUTS, SHORT_RAW_INPUTS = 1_000, 200
TIMEOUT_S = 30.0
_THREADS = 12
_OPEN_ENDED = ("Watch", "Read")  # these wait for more when the request asks for it, so they get a short deadline
_OPEN_ENDED_S = 0.2
_MOST_ANSWERS = 30
_WRONG = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_RAW_TIMEOUT_S = 10.0


def run(attack: Attack) -> None:
    """Calls one daemon with all inputs from a few threads, then with frames that are not gRPC's."""
    daemon = attack.serve("fuzz", "--lease", "2", "--sweep-interval", "1")
    _seed(daemon.socket)
    numbers = range(attack.size(INPUTS, SHORT_INPUTS)) if attack.only is None else range(attack.only, attack.only + 1)
    with watched(daemon.process.pid) as memory:
        codes = _Calls(attack, daemon.socket).all_of(numbers)
        if attack.only is None:
            codes += _raw_calls(attack, daemon.socket)
    shown = ", ".join(f"{code} {count:,}" for code, count in codes.most_common())
    attack.tell(f"{codes.total():,} inputs: {shown}; memory grew by {memory.growth_mib:.0f} MiB at most")
    attack.check_memory(memory, "the fuzz")
    attack.check_serving(daemon, "the fuzz")
    attack.stop(daemon, "the fuzz")


def _seed(socket: Path) -> None:
    """Records under the names that the inputs use, so that some inputs succeed."""
    for workspace in ("default", "w1"):
        with Api(socket, workspace=workspace) as api:
            tasks = [insert("task", id=f"TASK-00{number}", title="t") for number in (1, 2)]
            api.commit(insert("construct", id="C", name="c"), insert("session", id="S", construct_id="C"), *tasks)
            api.commit(append("S", "a", "b"))
            api.put(inputs.SEEDED_BLOB)


class _Calls:
    """Calls the daemon with inputs, each once; counts the codes."""

    def __init__(self, attack: Attack, socket: Path) -> None:
        self._attack = attack
        self._socket = socket
        self._codes: Counter[str] = Counter()
        self._lock = threading.Lock()

    def all_of(self, numbers: range) -> Counter[str]:
        waiting = iter(numbers)
        workers = [threading.Thread(target=self._work, args=(waiting,)) for _ in range(_THREADS)]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        return self._codes

    def _work(self, waiting: Iterator[int]) -> None:
        limits = {"grpc.max_send_message_length": MAX_MESSAGE_BYTES, "grpc.use_local_subchannel_pool": 1}
        with grpc.insecure_channel(f"unix:{self._socket}", list(limits.items())) as channel:
            while (number := self._next(waiting)) is not None:
                self._try(channel, inputs.made(self._attack.seed, number))

    def _next(self, waiting: Iterator[int]) -> int | None:
        with self._lock:
            number = next(waiting, None)
        if number and number % 5_000 == 0:
            self._attack.tell(f"{number:,} inputs")
        return number

    def _try(self, channel: grpc.Channel, made: Input) -> None:
        limit_s = _OPEN_ENDED_S if made.method.name in _OPEN_ENDED else TIMEOUT_S
        code, said, began = grpc.StatusCode.OK, "", time.monotonic()
        try:
            _call(channel, made, limit_s)
        except grpc.RpcError as error:
            code, said = error.code(), described(error)
        took_s = time.monotonic() - began
        hangs = took_s > limit_s + 5 or (code is grpc.StatusCode.DEADLINE_EXCEEDED and limit_s == TIMEOUT_S)
        with self._lock:
            self._codes[code.name] += 1
            if code in _WRONG or hangs:
                self._attack.demand(False, f"{made} got {said or code.name} after {took_s:.1f} s; --only {made.number}")


def _call(channel: grpc.Channel, made: Input, timeout_s: float) -> None:
    """Makes the call; of an answer that is a stream it reads the first frames."""
    options: dict[str, Any] = {"timeout": timeout_s, "metadata": made.metadata}
    if made.method.client_streaming:
        channel.stream_unary(made.path)(iter(made.requests), **options)
    elif made.method.server_streaming:
        answers = channel.unary_stream(made.path)(made.requests[0], **options)
        for _ in itertools.islice(answers, _MOST_ANSWERS):
            pass
        answers.cancel()
    else:
        channel.unary_unary(made.path)(made.requests[0], **options)


def _raw_calls(attack: Attack, socket: Path) -> Counter[str]:
    """Calls whose frames break the protocol of gRPC or HTTP/2. Each ends with a status, a reset, or a closed connection.

    gRPC's library answers many of them itself, some with INTERNAL, as gRPC's specification says for frames that are cut short.
    """
    statuses: Counter[str] = Counter()
    for number in range(attack.size(RAW_INPUTS, SHORT_RAW_INPUTS)):
        rng = random.Random(f"{attack.seed}/raw/{number}")
        connection = frames.RawConnection(socket)
        try:
            status = connection.status_of(_raw_call(rng), _RAW_TIMEOUT_S)
        except ConnectionError:
            status = "closed"
        finally:
            connection.close()
        statuses[f"raw {status}"] += 1
        attack.demand(status != "hangs", f"raw input {number} of this seed got no answer")
    return statuses


def _raw_call(rng: random.Random) -> bytes:
    """One call: odd gRPC frames under good headers, or good frames under odd headers."""
    made = next(each for each in _drawn(rng) if each.method.name not in _OPEN_ENDED)
    body = frames.framed(made.requests[0] if made.requests else b"")
    cut = body[: rng.randint(0, len(body) - 1)]
    beyond = b"\0" + struct.pack(">I", rng.choice((len(body) + 100, 2**31, 2**32 - 1))) + body[5:]
    good_headers = frames.call_headers(made.path)
    odd_headers = rng.choice((good_headers.replace(b"POST", b"PUT "), good_headers[:-10], b"\xff" * 9))
    odd_bodies = (cut, beyond, b"", body + body, b"\1" + body[1:], b"\7" + body[1:])
    block, data = (odd_headers, body) if rng.random() < 0.15 else (good_headers, rng.choice(odd_bodies))
    end = frames.frame(frames.DATA, frames.END_STREAM, 1, data[:16_000])
    return frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block) + end


def _drawn(rng: random.Random) -> Iterator[Input]:
    while True:
        yield inputs.made(f"{rng.random()}", 0)
