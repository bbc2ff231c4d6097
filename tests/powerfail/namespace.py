"""The mount namespace of a run, so that its mounts end with it, and so that a user other than root may mount at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.powerfail.fuse import DEVICE, Mount

_INSIDE = "POWERFAIL_NAMESPACE"
_NO_DEVICE = """\
FUSE is not available: {error}
  If the file is missing: load the kernel's module with `modprobe fuse`; start a container with
  `--device /dev/fuse --cap-add SYS_ADMIN` (Docker, Podman).
  If permission is denied: run the tier as root, or give the file its usual mode with `chmod 0666 /dev/fuse`."""
_NO_UNSHARE = "The command `unshare` is missing. Install util-linux."
_NO_RIGHT = """\
The tier may not mount its file system: {error}
  Run it as root; in a container, with `--cap-add SYS_ADMIN`.
  As another user: allow user namespaces, with `sysctl kernel.unprivileged_userns_clone=1` on Debian and
  `sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu."""


class CannotRun(Exception):
    """FUSE or the right to mount is missing. The message says what to install or load."""


def enter(arguments: Sequence[str]) -> None:
    """Runs this program again in a mount namespace of its own; returns inside it. Raises CannotRun."""
    if os.environ.get(_INSIDE):
        _try_to_mount()
        return
    _check_device()
    if shutil.which("unshare") is None:
        raise CannotRun(_NO_UNSHARE)
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise CannotRun(_NO_RIGHT.format(error=tried.stderr.strip()))
    program = [sys.executable, "-m", "tests.powerfail", *arguments]
    os.execvpe("unshare", [*unshare, "--", *program], {**os.environ, _INSIDE: "1"})


def _check_device() -> None:
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise CannotRun(_NO_DEVICE.format(error=error)) from error


def _try_to_mount() -> None:
    place = Path(tempfile.mkdtemp(prefix="powerfail-"))
    try:
        Mount(place).close()
    except OSError as error:
        raise CannotRun(_NO_RIGHT.format(error=error)) from error
    finally:
        place.rmdir()
