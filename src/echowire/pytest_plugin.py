"""Fixtures over the public names, found by pytest wherever Echowire is installed.

`echo_server` is a running echo on a free port of 127.0.0.1, TCP and UDP; `serve` starts others, with the
arguments of `echowire.serve`, and stops them when the test ends. A test whose handler raises fails with its traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

import echowire

SERVERS = pytest.StashKey[list[echowire.Server]]()
"""Those that a test has started."""


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., echowire.Server]]:
    """`echowire.serve`, on `127.0.0.1:0` unless told otherwise; every server it starts ends with the test."""
    servers = request.node.stash.setdefault(SERVERS, [])
    with ExitStack() as at_end:

        def start(*endpoints: object, **options: object) -> echowire.Server:
            server = echowire.serve(*endpoints or ("127.0.0.1:0",), **options)  # type: ignore[arg-type]
            servers.append(server)
            return at_end.enter_context(server)

        yield start


@pytest.fixture
def echo_server(serve: Callable[..., echowire.Server]) -> echowire.Server:
    """A running echo on a free port of 127.0.0.1, TCP and UDP."""
    return serve()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail the test itself with what a handler has raised by then; what comes later the end of the fixture tells."""
    try:
        result = yield
    except BaseException as error:
        for server in item.stash.get(SERVERS, []):
            server.note_errors(error)
        raise
    for server in item.stash.get(SERVERS, []):
        server.raise_errors()
    return result
