"""`python -m tests.powerfail.load NAME WHAT SOCKET LEDGERS SEED COUNT BEGIN`: one client of a recording, as a process.

WHAT is `setup` (creates what all clients share), `steps` (COUNT random operations) or `puts` (COUNT artifacts, the first at the
time BEGIN, in seconds since 1970, so that all clients put at the same moments).
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

import holdfast
from tests.durability.ledger import Ledger
from tests.durability.worker import CALL_TIMEOUT_S, Worker, set_up

NOTED = 1  # the exit code after an error that is in the ledger
ROUND_S = 0.1
_CONTENT_BYTES = 40_000


def main() -> int:
    name, what, socket, ledgers, seed, count, begin = sys.argv[1:]
    ledger = Ledger(Path(ledgers), name)
    try:
        if what == "setup":
            set_up(Path(socket), Path(ledgers))
            return 0
        with holdfast.connect(socket, actor=name, timeout_s=CALL_TIMEOUT_S, connect_timeout_s=CALL_TIMEOUT_S) as store:
            worker = Worker(store, ledger, random.Random(f"{seed}/{name}"))
            worker.begin()
            if what == "puts":
                _put_together(worker, int(count), seed, float(begin))
            else:
                for _ in range(int(count)):
                    worker.step()
    except BaseException:
        ledger.seen(traceback.format_exc())
        return NOTED
    return 0


def _put_together(worker: Worker, count: int, seed: str, begin_s: float) -> None:
    """In each round all clients put a file of their own into the same directory, which is new, at the same moment."""
    order = random.Random(seed).sample(range(256), min(count, 256))
    for number, first_byte in enumerate(order):
        content = with_first_byte(random.randbytes(_CONTENT_BYTES), first_byte)
        time.sleep(max(0.0, begin_s + number * ROUND_S - time.time()))
        worker.put_content(content)


def with_first_byte(content: bytes, first_byte: int) -> bytes:
    """The content with four bytes added, so that its SHA-256 begins with this byte, which names the directory of its file."""
    start = hashlib.sha256(content)
    for number in range(1 << 20):
        whole = start.copy()
        whole.update(number.to_bytes(4, "big"))
        if whole.digest()[0] == first_byte:
            return content + number.to_bytes(4, "big")
    raise AssertionError("a million tries for one byte of SHA-256")


if __name__ == "__main__":
    sys.exit(main())
