"""Which headers count as one packet of a conversation, of which, and who its two ends are.

As Wireshark counts: a header that is cut short, or says what cannot be, does not; nor does what an ICMP error quotes,
or an IPv6 packet whose extension headers lead to no upper layer: a fragment that completes nothing, a mobility header.
The ends are those of the whole way: where a source route leads in the end, and a mobile node's home address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.cells import ipv6_text
from echowire.core.packets.dissect import Packets
from echowire.core.packets.layers import Layer
from echowire.core.packets.protocols.ipv4.protocol import header_bytes, is_sound
from echowire.core.packets.protocols.ipv6.extensions import leads_on
from echowire.core.packets.routes import destinations, reroute
from echowire.core.packets.streams import Mask, conversation, internet_layer, key_of_ends, outer_layers, stream_numbers
from echowire.core.packets.tcp.header import MIN_HEADER_BYTES

ETHERNET_BYTES = 14
IPV4_BYTES, IPV6_BYTES = 20, 40
PORTS_BYTES = 4
SCTP_BYTES, CHUNK_BYTES = 12, 4
"""SCTP's common header, and the head of a chunk, which a packet has one of at least."""

MOBILITY = 135
"""The next header of a mobility header (RFC 6275, section 6.1.1), in which nothing else is."""

EXTENSIONS = ("ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr")

NOT_A_PAIR = np.uint64(0xFFFFFFFF_00000000)
"""Of two IPv4 addresses with the lower first: there is no such pair, so that no key becomes 0 by it."""

MAX_TEXTS = 10_000
"""Addresses whose texts are kept: most packets have those of others."""

Endpoint: TypeAlias = tuple[str, int]
"""An address as text, and a port."""

SIZES = {"eth": 6, "ip": 4, "ipv6": 16}
"""Bytes of an address, by the protocol that has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The headers of one layer that count."""

    layer: Layer
    entries: Rows
    key: NDArray[np.uint64] | Rows
    """Of the conversation that each is of: the number of its stream where the protocol has streams."""
    forward: Mask
    """Which way each went; the same for all that one end of a conversation sent."""

    def only(self, mask: Mask) -> Counted:
        """Those for which `mask` holds."""
        if mask.all():
            return self
        return Counted(self.layer, self.entries[mask], self.key[mask], self.forward[mask])


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Who sent each of some packets and to whom: addresses as two numbers, the more significant first, and ports."""

    family: NDArray[np.uint8]
    """Bytes of an address."""
    source: NDArray[np.uint64]
    """uint64[n, 2]"""
    destination: NDArray[np.uint64]
    ports: NDArray[np.uint16]
    """Of source and destination, 0 where there are none: uint16[n, 2]"""

    def sides(self) -> tuple[list[Endpoint], list[Endpoint]]:
        """As text: all sources, and all destinations."""
        source, destination = (
            list(zip(address_texts(self.family, side), ports, strict=True))
            for side, ports in zip((self.source, self.destination), self.ports.T.tolist(), strict=True)
        )
        return source, destination

    def pair(self, at: int) -> tuple[Endpoint, Endpoint]:
        """As text: source and destination of one."""
        family = int(self.family[at])
        source, destination = (address_text(family, *side[at].tolist()) for side in (self.source, self.destination))
        return (source, int(self.ports[at, 0])), (destination, int(self.ports[at, 1]))


def counted(packets: Packets, protocol: str) -> Iterator[Counted]:
    """The headers of a protocol that count, layer by layer, the outer first."""
    for layer in packets.layers_of(protocol):
        found = None if layer.is_quoted else _COUNTED[protocol](layer)
        if found is not None and len(found.entries):
            yield found


def _ethernet(layer: Layer) -> Counted:
    entries = np.flatnonzero(layer.has(ETHERNET_BYTES))
    key, higher = key_of_ends((layer.uint(6, 6)[entries],), (layer.uint(0, 6)[entries],))
    return Counted(layer, entries, key, higher)


def _ipv4(layer: Layer) -> Counted:
    source, destination = layer.uint(12, 4).astype(np.uint64), destinations(layer).astype(np.uint64)
    key = (np.minimum(source, destination) << np.uint64(32)) | np.maximum(source, destination)
    found = Counted(layer, layer.every, key ^ NOT_A_PAIR, source > destination)
    return found.only(is_sound(layer) & layer.has(header_bytes(layer)))


def _ipv6(layer: Layer) -> Counted:
    counts = (layer.uint(0, 1) >> 4 == 6) & layer.has(IPV6_BYTES) & (layer.uint(6, 1) != MOBILITY)
    for extension in layer.chunk:
        if extension.protocol.name in EXTENSIONS:
            around = internet_layer(extension)
            if around is not None and around[0] is layer:
                lost = ~leads_on(extension) | (extension.uint(0, 1) == MOBILITY)
                # A fragment that completes a datagram leads on; those before it do not, and are other packets.
                counts[around[1][lost]] = False
    entries = np.flatnonzero(counts)
    halves = [layer.uint(at, 8)[entries] for at in (8, 16, 24, 32)]
    key, higher = key_of_ends((halves[0], halves[1]), (halves[2], halves[3]))
    return Counted(layer, entries, key, higher)


def _tcp(layer: Layer) -> Counted | None:
    header = (layer.uint(12, 1) >> 4).astype(np.int64) * 4
    return _transport(layer, (header >= MIN_HEADER_BYTES) & layer.has(header), "tcp.stream")


def _udp(layer: Layer) -> Counted | None:
    return _transport(layer, layer.has(PORTS_BYTES), "udp.stream")


def _sctp(layer: Layer) -> Counted | None:
    """With all its chunks: Wireshark counts a packet when it is done with them."""
    counts = layer.has(SCTP_BYTES + CHUNK_BYTES) & layer.has(layer.wire_end - layer.start)
    if layer.walked:
        counts[layer.walked.malformed] = False
    return _transport(layer, counts, None)


def _transport(layer: Layer, counts: Mask, stream: str | None) -> Counted | None:
    around = internet_layer(layer)
    if around is None:
        return None
    holder, index = around
    if not (whole := _is_whole(holder)).all():
        counts = counts & whole[index]
    key, higher = conversation(layer)
    if stream:
        number = stream_numbers(layer, stream)
        return Counted(layer, layer.every, number, higher).only(counts & (number >= 0))
    return Counted(layer, layer.every, key, higher).only(counts)


def has_ends(layer: Layer) -> Mask:
    """Of which entries of a transport layer both addresses and ports were captured."""
    around = internet_layer(layer)
    if around is None:
        return np.zeros(len(layer), np.bool_)
    return _is_whole(around[0])[around[1]] & layer.has(PORTS_BYTES)


def _is_whole(internet: Layer) -> Mask:
    return internet.has(IPV6_BYTES if internet.protocol.name == "ipv6" else IPV4_BYTES)


_COUNTED: Mapping[str, Callable[[Layer], Counted | None]] = {
    "eth": _ethernet,
    "ip": _ipv4,
    "ipv6": _ipv6,
    "tcp": _tcp,
    "udp": _udp,
    "sctp": _sctp,
}


def ends_of(layer: Layer, entries: Rows) -> Ends:
    """The ends of some packets, by their headers of `layer`, which count, or have ends."""
    around = (layer, layer.every) if layer.protocol.name in SIZES else internet_layer(layer)
    assert around is not None, "what counts has addresses"
    holder, index = around[0], around[1][entries]
    name = holder.protocol.name
    sides = np.zeros((2, len(entries), 2), np.uint64)
    if name == "ipv6":
        for side, at in enumerate((8, 24)):
            for half in range(2):
                sides[side, :, half] = holder.number(holder.start[index] + at + 8 * half, 8)
    elif name == "ip":
        sides[0, :, 1] = holder.number(holder.start[index] + 12, 4)
        sides[1, :, 1] = destinations(holder)[index]
    else:
        for side, at in enumerate((6, 0)):
            sides[side, :, 1] = holder.number(holder.start[index] + at, 6)
    ports = np.zeros((len(entries), 2), np.uint16)
    if holder is not layer:
        for side in range(2):
            ports[:, side] = layer.number(layer.start[entries] + 2 * side, 2)
        if name == "ipv6":
            reroute(outer_layers(layer), entries, sides)
    return Ends(np.full(len(entries), SIZES[name], np.uint8), sides[0], sides[1], ports)


def address_texts(family: NDArray[np.uint8], address: NDArray[np.uint64]) -> list[str]:
    """Addresses, each as its kind is written: uint8[n], uint64[n, 2]."""
    return [address_text(*row) for row in zip(family.tolist(), *address.T.tolist(), strict=True)]


@lru_cache(MAX_TEXTS)
def address_text(family: int, high: int, low: int) -> str:
    """An address, as its kind is written."""
    if family == SIZES["ipv6"]:
        return ipv6_text(high.to_bytes(8, "big") + low.to_bytes(8, "big"))
    if family == SIZES["eth"]:
        return low.to_bytes(6, "big").hex(":")
    return ".".join(map(str, low.to_bytes(4, "big")))
