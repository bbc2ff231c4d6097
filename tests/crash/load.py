"""A worker's process: works on the store, and pauses at the gate, until it is killed."""

from __future__ import annotations

import random
import sys
import traceback
from pathlib import Path

import holdfast
from tests.crash.gate import Gate
from tests.durability.ledger import Ledger
from tests.durability.worker import CALL_TIMEOUT_S, Worker


def run(name: str, slot: int, directory: str, socket: str, seed: str) -> None:
    """The main function of the process."""
    place = Path(directory)
    gate = Gate(place / "gate")
    ledger = Ledger(place, name)
    gate.pass_through(slot)
    try:
        with holdfast.connect(socket, actor=name, timeout_s=CALL_TIMEOUT_S, connect_timeout_s=CALL_TIMEOUT_S) as store:
            worker = Worker(store, ledger, random.Random(seed))
            worker.begin()
            while True:
                gate.pass_through(slot)
                worker.step()
    except BaseException:
        ledger.seen(traceback.format_exc())
        sys.exit(1)
