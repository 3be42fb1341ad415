"""What joins captured packets with processes: the kernel's events, the sockets of /proc, and the table of both."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, Self

from echowire.core.captures.in_place import Notes
from echowire.core.captures.ring import Frames
from echowire.core.owners.flow_keys import Headers
from echowire.core.owners.table import OwnerTable
from echowire.errors import OperationError
from echowire.kernel.tables.socket_owners import (
    SocketOwners,
    existing,
    lives,
    network_namespace,
    own_addresses,
    owner_of,
)

LOOK_AGAIN_S = 0.25
"""Between two looks into /proc, where the kernel does not tell by itself: each is some milliseconds of a busy host."""

ADDRESSES_S = 1.0
"""Between two looks at this host's addresses, a tenth of a millisecond each."""


class PacketOwners:
    """Gives each packet of a local socket its processes. Used as a context manager.

    Of sockets that there are already those of `kinds` are looked at.
    """

    def __init__(self, kinds: Sequence[Literal["tcp", "udp"]] = ("tcp", "udp")) -> None:
        self._kinds = kinds
        self.problem: OperationError | None = None
        """Why the kernel does not tell, so that sockets of milliseconds are missed."""
        self._events: SocketOwners | None = None
        try:
            self._events = SocketOwners()
        except OperationError as error:
            self.problem = error
        self.table = OwnerTable(owner_of, lives, network_namespace())
        self._looked = self._addressed = -ADDRESSES_S
        self._look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel's telling."""
        if self._events:
            self._events.close()
            self._events = None

    def learn(self) -> None:
        """Take what the kernel has told; several times a second, or its ring is full."""
        if self._events:
            for event in self._events.events():
                self.table.learn(event)

    def notes(self, frames: Frames, link_type: int) -> Notes | None:
        """The options that packets get, block by block, in order."""
        self.learn()
        if self._events is None and time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._look()  # first, since a port may have become another process's
        if time.monotonic() - self._addressed >= ADDRESSES_S:
            self._addressed = time.monotonic()
            self.table.learn_addresses(own_addresses())
        headers = Headers(frames.block, frames.start, frames.cap_len, link_type)
        return self.table.notes(headers, frames.time_ns, time.time_ns() - time.monotonic_ns())

    def _look(self) -> None:
        """Learn the sockets that there are."""
        for key, owner in existing(self._kinds):
            self.table.learn_socket(key, owner)
        self._looked = time.monotonic()
