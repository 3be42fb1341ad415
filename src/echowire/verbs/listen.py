"""listen: wait at an endpoint for connections, and have each of them as a `Peer`, as `call` gives one.

    with echowire.listen("127.0.0.1:9000") as listener, listener.accept() as peer:
        print(peer.readline())

`serve` is for many peers at once; this is for one, or for one after the other, in the thread that waits.
"""

from __future__ import annotations

import time

from echowire.core.units import format_duration
from echowire.errors import NoReplyError
from echowire.kernel.connections.connect import Connection
from echowire.kernel.connections.incoming import accept_channel
from echowire.kernel.connections.listen import BACKLOG, Listener, close_all, open_listeners
from echowire.model import DEFAULT_PORT, Endpoint, EndpointLike, Family
from echowire.verbs.call import Peer
from echowire.verbs.explained import explaining


class PeerListener:
    """Sockets that listen at one endpoint. Close it, or use it in a `with` block; peers that it gave stay open."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self.endpoints = tuple(listener.endpoint for listener in listeners)
        """What is bound, with the real port where 0 was asked for: two where a name has both families."""

    @property
    def endpoint(self) -> Endpoint:
        """The first of them."""
        return self.endpoints[0]

    def accept(self, timeout: float | None = None, *, peer_timeout: float | None = None) -> Peer:
        """Wait for the next connection, for `timeout` seconds at most; `peer_timeout` is that of the `Peer`.

        Of datagrams it is the sender of the first one; what others send is dropped while one receives from that
        `Peer`. Raises `NoReplyError` when nobody came in time, `OperationError`.
        """
        began = time.perf_counter()
        taken = accept_channel(self._listeners, None if timeout is None else began + timeout)
        if taken is None:
            raise NoReplyError(f"accept {self.endpoint}: nobody came within {format_duration(timeout)} (our timer)")
        channel, _ = taken
        return Peer(Connection(channel, (), 0.0), peer_timeout)

    def close(self) -> None:
        """Listen no more."""
        close_all(self._listeners)

    def __enter__(self) -> PeerListener:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def listen(endpoint: EndpointLike, *, family: Family | None = None, backlog: int = BACKLOG) -> PeerListener:
    """Listen at `endpoint`, which is what `Endpoint.of` takes, TCP unless it says otherwise; without TLS.

    Raises `OperationError`, `NameResolutionError`, `UsageError`.
    """
    at = Endpoint.of(endpoint, port=DEFAULT_PORT)
    with explaining(at):
        return PeerListener(open_listeners([[at]], family=family, backlog=backlog))
