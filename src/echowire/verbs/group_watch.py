"""What keeps the datagrams of a group from those who have joined it: asked of this host's tables, for `serve`.

It is a part of that verb. A setting alone is no proof: what the kernel dropped while somebody listened is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from echowire.core.failures.causes.groups import Finding, unheard
from echowire.kernel.tables.counters import read_counters
from echowire.kernel.tables.group_facts import gather_group
from echowire.model import Endpoint

WATCHED = ("TcpExtIPReversePathFilter",)
"""Counters of what the kernel throws away before any socket sees it."""


class GroupWatch:
    """The groups among `endpoints`, each with the interface on which it was joined, from when it was made."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoint for endpoint in endpoints if endpoint.is_group)
        self._before = self._counters() if self.endpoints else {}

    @staticmethod
    def _counters() -> dict[str, int]:
        found = read_counters()
        return {name: found.get(name, 0) for name in WATCHED}

    def findings(self) -> list[tuple[Endpoint, Finding]]:
        """What keeps each group's datagrams away, as far as is known by now; empty where nothing is."""
        since = {name: value - self._before.get(name, 0) for name, value in self._counters().items()}
        return [
            (endpoint, finding)
            for endpoint in self.endpoints
            for finding in unheard(gather_group(endpoint, source=endpoint.source, counters=since))
        ]
