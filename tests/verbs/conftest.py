"""Five hosts in a row, for the tests of paths and of who answers along them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netns import Namespace, chain


@pytest.fixture(scope="module")
def chain_of_five() -> Iterator[tuple[Namespace, ...]]:
    """One chain for all tests of a module: to make it takes longer than most of them."""
    with chain(5) as made:
        for host in made:
            # Each error is wanted, however many a second.
            host.sysctl("net.ipv4.icmp_ratelimit", 0)
            host.sysctl("net.ipv4.icmp_msgs_per_sec", 100_000)
            host.sysctl("net.ipv6.icmp.ratelimit", 0)
        yield made


@pytest.fixture
def hosts(chain_of_five: tuple[Namespace, ...]) -> Iterator[tuple[Namespace, ...]]:
    """The chain without firewall rules."""
    yield chain_of_five
    for host in chain_of_five:
        if host.has_rules:
            host.flush()
