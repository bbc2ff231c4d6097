"""The limit of open files: how much of it connections may take, and what is too little."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import pytest

from holdfastd import descriptors
from holdfastd.errors import SetupError


@pytest.mark.parametrize(
    ("limit", "connections"),
    [(64, 48), (128, 83), (1_024, 531), (524_288, 523_760)],
)
def test_connections_leave_a_reserve(monkeypatch: pytest.MonkeyPatch, limit: int, connections: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert descriptors.for_connections(readers=4, streams=256) == connections


def test_no_limit_is_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.for_connections(readers=4, streams=256) > 1_000_000


def test_too_low_a_limit_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))
    with pytest.raises(SetupError, match=r"may open 24 files \(`ulimit -n`\); with 4 readers the daemon needs 60\. Raise"):
        descriptors.for_connections(readers=4, streams=256)


RAISE = """
import resource
from holdfastd import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
descriptors.raise_limit()
print(descriptors.limit())
"""


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    assert done.stdout == "200\n"


def test_only_a_lack_of_descriptors_is_one() -> None:
    assert descriptors.lack(OSError(errno.EIO, "")) is None
    assert descriptors.lack(ValueError()) is None
    for number in (errno.EMFILE, errno.ENFILE):
        found = descriptors.lack(OSError(number, ""))
        assert found is not None
        assert (found.reason, found.retry_delay_s) == ("TOO_MANY_FILES", 1.0)


def test_a_lack_is_found_when_a_library_does_not_pass_on_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert descriptors.lack_now() is None

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    assert descriptors.lack_now() is not None
