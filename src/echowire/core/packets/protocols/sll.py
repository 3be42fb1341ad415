"""Linux cooked captures, version 1 and 2: what the kernel tells of a packet of any device.

The protocol is an Ethernet type, or one of Linux' own numbers below it, or GRE's where the device is a GRE tunnel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.assigned import ETHERTYPES, HARDWARE
from echowire.core.packets.columns import Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol, present
from echowire.core.packets.protocols.ethernet.protocol import type_column

MAX_LINUX_TYPE = 1536
"""Numbers up to this are Linux' own (if_ether.h, ETH_P_802_3 and on), not Ethernet types."""

GRE_DEVICES = (778, 823)
"""ARPHRD_IPGRE, ARPHRD_IP6GRE: the protocol is GRE's."""

MAX_ADDRESS_BYTES = 8

PACKET_TYPES = {
    0: "Unicast to us",
    1: "Broadcast",
    2: "Multicast",
    3: "Unicast to another host",
    4: "Sent by us",
}
LINUX_TYPES = {
    0x01: "Raw 802.3",
    0x03: "Ethernet",
    0x04: "802.2 LLC",
    0x07: "PPP (HDLC)",
    0x0C: "CAN",
    0x0D: "CAN FD",
    0x17: "IrDA LAP",
    0xF5: "ISI",
    0xF6: "IEEE 802.15.4",
}


class _Layout:
    """Where the fields are in one of the two versions."""

    def __init__(self, header: int, protocol: int, hardware: int, kind: tuple[int, int], size: tuple[int, int]) -> None:
        self.header, self.protocol, self.hardware, self.kind, self.size = header, protocol, hardware, kind, size
        self.address = size[0] + size[1]

    def is_gre(self, layer: Layer) -> NDArray[np.bool_]:
        """Packets of a GRE tunnel."""
        return np.isin(layer.uint(self.hardware, 2), GRE_DEVICES)

    def is_linux(self, layer: Layer) -> NDArray[np.bool_]:
        """Packets whose protocol is one of Linux' own numbers."""
        return ~self.is_gre(layer) & (layer.uint(self.protocol, 2) <= MAX_LINUX_TYPE)

    def is_ethernet(self, layer: Layer) -> NDArray[np.bool_]:
        """Packets whose protocol is an Ethernet type."""
        return ~self.is_gre(layer) & (layer.uint(self.protocol, 2) > MAX_LINUX_TYPE)

    def next(self, layer: Layer) -> Iterator[Next]:
        """What follows, in one of three tables."""
        start, protocol = layer.start + self.header, layer.uint(self.protocol, 2)
        for table, which in (
            ("ethertype", self.is_ethernet),
            ("sll.ltype", self.is_linux),
            ("gre.proto", self.is_gre),
        ):
            index = np.flatnonzero(layer.has(self.header) & which(layer))
            yield Next(table, (protocol[index],), index, start[index], layer.wire_end[index])

    def addresses(self, size: int) -> Callable[[Layer], NDArray[np.bool_]]:
        """Which packets have an address of so many bytes."""
        return lambda layer: layer.uint(self.size[0], self.size[1]) == size

    def other_address(self, layer: Layer) -> Picked:
        """Addresses of other sizes than those of Ethernet and IPv4, at most as long as there is room."""
        size = np.minimum(layer.uint(self.size[0], self.size[1]).astype(np.int64), MAX_ADDRESS_BYTES)
        index = np.flatnonzero(layer.has(self.header) & (size > 0) & (size != 4) & (size != 6))
        begin = (layer.start + self.address)[index]
        pieces = zip(begin.tolist(), (begin + size[index]).tolist(), strict=True)
        return Picked(index, objects([layer.data[a:b].tobytes() for a, b in pieces]))

    def fields(self) -> tuple[Field, ...]:
        """The table, in the order of Wireshark's tree."""
        at = self.protocol
        return (
            Field("sll.pkttype", "Packet type", Type.UINT16, self.kind[0], self.kind[1], names=PACKET_TYPES),
            Field("sll.hatype", "Link-layer address type", Type.UINT16, self.hardware, names=HARDWARE),
            Field("sll.halen", "Link-layer address length", Type.UINT16, *self.size),
            Field("sll.src.eth", "Source", Type.ETHER, self.address, when=self.addresses(6)),
            Field("sll.src.ipv4", "Source", Type.IPV4, self.address, when=self.addresses(4)),
            Field("sll.src.other", "Source", Type.BYTES, make=self.other_address),
            Field("sll.etype", "Protocol", Type.UINT16, at, base="hex", names=ETHERTYPES, when=self.is_ethernet),
            Field("sll.ltype", "Protocol", Type.UINT16, at, base="hex", names=LINUX_TYPES, when=self.is_linux),
            Field("sll.gretype", "Protocol", Type.UINT16, at, base="hex", names=ETHERTYPES, when=self.is_gre),
        )

    def info(self, layer: Layer) -> list[str | None]:
        """What is shown where nothing is known of the protocol: which way the packet went."""
        return [PACKET_TYPES.get(kind, "Unknown") for kind in layer.uint(*self.kind).tolist()]


V1 = _Layout(header=16, protocol=14, hardware=2, kind=(0, 2), size=(4, 2))
V2 = _Layout(header=20, protocol=0, hardware=8, kind=(10, 1), size=(11, 1))
TABLES = ("ethertype", "sll.ltype", "gre.proto")

PROTOCOLS = (
    Protocol(
        "sll",
        "Linux cooked capture v1",
        lambda layer: type_column(layer.uint(V1.protocol, 2), "SLL"),
        fields=V1.fields(),
        keys=(("link_type", 113),),
        follow=V1.next,
        tables=TABLES,
        size=V1.header,
        info=V1.info,
        least=4,
    ),
    Protocol(
        "sll2",
        "Linux cooked capture v2",
        lambda layer: type_column(layer.uint(V2.protocol, 2), "SLL"),
        fields=(
            Field("sll", "Linux cooked capture", Type.PROTOCOL, make=present, hidden=True),
            *V2.fields(),
            Field("sll.ifindex", "Interface index", Type.UINT32, 4),
        ),
        keys=(("link_type", 276),),
        follow=V2.next,
        tables=TABLES,
        size=V2.header,
        info=V2.info,
        least=12,
    ),
)
