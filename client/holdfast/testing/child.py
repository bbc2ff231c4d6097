"""The process of a test's daemon: runs `holdfastd` until standard input ends, which the test's process holds open.

A pipe tells of every end of that process, also of a kill; the kernel's death signal (prctl) would tell of the end of the thread
that started it. `process.py` runs this with the directory of the socket and of the store as its argument.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import tempfile
import threading
import time

GRACE_S = 2.0


def _end_with_stdin(directory: str) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S * 2)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


def main(directory: str) -> None:
    """Serves a store in memory; afterwards removes the directory."""
    tempfile.tempdir = directory  # the store in memory lies here, so that it is removed too if the daemon fails
    threading.Thread(target=_end_with_stdin, args=(directory,), name="end-with-stdin", daemon=True).start()
    sys.argv = ["holdfastd", "--persistence", "memory", "--socket", f"{directory}/s.sock", "--grace", f"{GRACE_S:g}"]
    try:
        runpy.run_module("holdfastd", run_name="__main__")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
