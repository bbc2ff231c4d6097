"""Stops while a client is frozen (SIGSTOP) in streams or answers: within the grace and a second, exit code 0, marked clean."""

from __future__ import annotations

import time

from tests.abuse import callers
from tests.abuse.attack import Attack
from tests.abuse.callers import GreedyCallers
from tests.abuse.honest import HonestCaller

RUN_S = 0.15  # the client reads for a moment before it is frozen
SETTLE_S = 1.0  # for the daemon to fill the buffers of the frozen client
CLIENTS = (("downloads", 4), ("watches", 4), ("reads", 4), ("lists", 40), ("scans", 2))


def run(attack: Attack) -> None:
    """Each sort of client has a daemon of its own. The short form has two sorts."""
    for what, count in CLIENTS[: attack.size(len(CLIENTS), 2)]:
        daemon = attack.serve(what)
        callers.seed(daemon.socket, attack.size(8, 1))
        greedy = GreedyCallers(daemon.socket, what, count)
        try:
            time.sleep(RUN_S)
            greedy.freeze()
            with HonestCaller(daemon.socket) as honest:
                time.sleep(SETTLE_S)
            attack.check_answers(honest.answers, f"beside frozen {what}")
            took_s = attack.stop(daemon, f"frozen {what}")
        finally:
            greedy.kill()
        attack.tell(f"{count} frozen {what}: {honest.answers}; the stop took {took_s:.1f} s")
        again = attack.directory(f"{what}-again").serve(str(daemon.data_dir), "s")
        attack.demand("unclean" not in again.log(), f"after frozen {what} the next start finds an unclean stop")
        attack.check_serving(again, f"frozen {what}, at the next start,")
        again.end()
