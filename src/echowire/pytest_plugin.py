"""Fixtures over the public names, found by pytest wherever Echowire is installed.

`echo_server` is a running echo on a free port of 127.0.0.1, TCP and UDP; `serve` starts others, with the
arguments of `echowire.serve`, and stops them when the test ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import echowire


@pytest.fixture
def serve() -> Iterator[Callable[..., echowire.Server]]:
    """`echowire.serve`, on `127.0.0.1:0` unless told otherwise; every server it starts ends with the test."""
    with ExitStack() as servers:

        def start(*endpoints: str, **options: object) -> echowire.Server:
            server = echowire.serve(*endpoints or ("127.0.0.1:0",), **options)  # type: ignore[arg-type]
            return servers.enter_context(server)

        yield start


@pytest.fixture
def echo_server(serve: Callable[..., echowire.Server]) -> echowire.Server:
    """A running echo on a free port of 127.0.0.1, TCP and UDP."""
    return serve()
