"""Runs coroutine functions, tests and fixtures alike, on one event loop, and gives them an asynchronous store."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.async_client.connection import Connection
from tests.async_client.store import AsyncStore
from tests.conftest import DaemonProcess


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture
def store(daemon: DaemonProcess, loop: asyncio.AbstractEventLoop) -> Iterator[AsyncStore]:
    """A workspace of its own in the shared daemon."""

    async def connected() -> Connection:
        return Connection(daemon.socket_path)

    connection = loop.run_until_complete(connected())
    yield AsyncStore(connection, f"w-{uuid.uuid4().hex[:12]}", "tester")
    loop.run_until_complete(connection.close())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    pyfuncitem.funcargs["loop"].run_until_complete(pyfuncitem.obj(**arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Generator[None, object, object]:
    """A fixture that is a coroutine function becomes one that runs it."""
    made: Any = fixturedef.func
    if not inspect.iscoroutinefunction(made):
        return (yield)
    loop = request.getfixturevalue("loop")
    fixture: Any = fixturedef
    fixture.func = lambda **given: loop.run_until_complete(made(**given))
    try:
        return (yield)
    finally:
        fixture.func = made
