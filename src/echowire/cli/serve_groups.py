"""`echowire serve` of a multicast group: what keeps its datagrams away is told as it begins, and if none ever came."""

from __future__ import annotations

from collections.abc import Sequence

import echowire
from echowire.cli.common import Environment


def watched_groups(env: Environment, endpoints: Sequence[echowire.Endpoint]) -> echowire.GroupWatch | None:
    """Tell what is known against each group among `endpoints`; None where there is no group."""
    if not any(endpoint.is_group for endpoint in endpoints):
        return None
    watch = echowire.GroupWatch(endpoints)
    for endpoint, finding in watch.findings():
        env.say(f"echowire: {endpoint}: {finding}")
    return watch


def tell_silent(env: Environment, watch: echowire.GroupWatch) -> None:
    """Nothing came to any group: tell what the kernel did meanwhile that explains it."""
    for endpoint, finding in watch.findings():
        env.say(f"echowire: nothing came to {endpoint}: {finding}")
