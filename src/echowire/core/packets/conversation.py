"""Who talks with whom: the two sockets of a packet, for protocols that remember what was said before."""

from __future__ import annotations

import numpy as np

from echowire.core.packets.layers import Layer

Socket = tuple[bytes, int]
"""Address, in the bytes it has in the packet, and port; empty and 0 where there is none."""


def directed(layer: Layer) -> list[tuple[Socket, Socket]]:
    """Of each entry of a layer above UDP or TCP the socket that sent it and the one it was sent to."""
    return layer.once("directed", lambda: _directed(layer))


def sockets(layer: Layer) -> list[tuple[Socket, Socket]]:
    """The same, the lower first: equal for both directions of a conversation."""
    return layer.once("sockets", lambda: [(min(ends), max(ends)) for ends in directed(layer)])


def _directed(layer: Layer) -> list[tuple[Socket, Socket]]:
    nobody = [b""] * len(layer)
    source, destination = nobody, nobody
    for name, size, at in (("ip", 4, 12), ("ipv6", 16, 8)):
        found = _nearest(layer, name)
        if found is None:
            continue
        network, index = found
        raw = network.start[index]
        source = [network.data[a : a + size].tobytes() for a in (raw + at).tolist()]
        destination = [network.data[a : a + size].tobytes() for a in (raw + at + size).tolist()]
        break
    ports = [(0, 0)] * len(layer)
    for name in ("udp", "tcp"):
        transport = layer.outer(name)
        if transport is not None:
            segment, index = transport
            ports = list(zip(segment.uint(0, 2)[index].tolist(), segment.uint(2, 2)[index].tolist(), strict=True))
            break
    return [((a, p), (b, q)) for a, b, (p, q) in zip(source, destination, ports, strict=True)]


def _nearest(layer: Layer, name: str) -> tuple[Layer, np.ndarray] | None:
    """The layer of `name` that this one lies in, if no other network layer lies between."""
    outer, index = layer.parent, layer.index
    while outer is not None and outer.protocol.name not in ("ip", "ipv6"):
        index, outer = outer.index[index], outer.parent
    return (outer, index) if outer is not None and outer.protocol.name == name else None
