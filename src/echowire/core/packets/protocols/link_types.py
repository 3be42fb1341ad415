"""Rarer link types, as far as they lead to IP: FDDI, ARCNET, Frame Relay, SunATM, IP over InfiniBand, Solaris' ipnet,
BSD's pflog, and the wrappers PPI and PKTAP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol, present

FDDI_BYTES, ATM_BYTES, INFINIBAND_BYTES, IPNET_BYTES = 13, 4, 44, 24
FDDI_LLC = (0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0xD0)
"""Frame control values of LLC frames, asynchronous with each priority, and synchronous."""

UNNUMBERED = 0x03
ARCNET_FRAGMENT_EXCEPTION, ARCNET_BACNET = 0xFF, 0xCD
NLPID_SNAP, NLPIDS_OSI = 0x80, (0x81, 0x82, 0x83)
PPI_MIN_BYTES, PKTAP_MIN_BYTES = 8, 12
SOLARIS_FAMILIES = {2: "Solaris AF_INET", 26: "Solaris AF_INET6"}
PF_ACTIONS = {0: "pass", 1: "block", 2: "scrub"}


def _follow(
    table: str, header: int, key: Callable[[Layer], NDArray[np.unsignedinteger]]
) -> Callable[[Layer], Iterable[Next]]:
    """What follows a header of a fixed size."""

    def follow(layer: Layer) -> Iterator[Next]:
        index = np.flatnonzero(layer.has(header))
        yield Next(table, (key(layer)[index],), index, layer.start[index] + header, layer.wire_end[index])

    return follow


def _is_llc(layer: Layer) -> NDArray[np.unsignedinteger]:
    return np.isin(layer.uint(0, 1), FDDI_LLC).astype(np.uint8)


def _arcnet_bytes(layer: Layer, before: int) -> Rows:
    """A frame with an exception flag has its header twice; BACnet's have no fragments."""
    exception = layer.uint(before + 1, 1) == ARCNET_FRAGMENT_EXCEPTION
    size = np.where(exception, before + 8, before + 4)
    return np.where(layer.uint(before, 1) == ARCNET_BACNET, before + 1, size).astype(np.int64)


def _arcnet_next(before: int) -> Callable[[Layer], Iterable[Next]]:
    def follow(layer: Layer) -> Iterator[Next]:
        size = _arcnet_bytes(layer, before)
        index = np.flatnonzero(layer.has(size))
        key = layer.uint(before, 1)[index]
        yield Next("arcnet.protocol_id", (key,), index, (layer.start + size)[index], layer.wire_end[index])

    return follow


def _arcnet(name: str, title: str, link_type: int, before: int) -> Protocol:
    """ARCNET with so many bytes before the protocol: Linux gives two bytes of offset that others leave out."""
    return Protocol(
        name,
        title,
        "ARCNET",
        fields=(
            *([] if name == "arcnet" else [Field("arcnet", title, Type.PROTOCOL, make=present, hidden=True)]),
            Field("arcnet.src", "Source", Type.UINT8, 0, base="hex"),
            Field("arcnet.dst", "Dest", Type.UINT8, 1, base="hex"),
            Field("arcnet.protID", "Protocol ID", Type.UINT8, before, base="hex"),
        ),
        keys=(("link_type", link_type),),
        follow=_arcnet_next(before),
        tables=("arcnet.protocol_id",),
        size=lambda layer: _arcnet_bytes(layer, before),
        least=2,
    )


def _address_bytes(layer: Layer) -> Rows:
    """Two to four bytes: the lowest bit of the last is set (Q.922, 3.3.1)."""
    size = np.full(len(layer), 4, np.int64)
    for at in (2, 1):
        size[layer.uint(at, 1) & 1 == 1] = at + 1
    return size


def _circuit(layer: Layer) -> NDArray[np.uint32]:
    """The data link connection identifier: six bits, then four, then seven of a third byte and six of the last."""
    size, first = _address_bytes(layer), [layer.uint(at, 1).astype(np.uint32) for at in range(4)]
    short = first[0] >> 2 << 4 | first[1] >> 4
    return np.where(
        size == 2,
        short,
        np.where(size == 3, short << 6 | first[2] >> 2, (short << 7 | first[2] >> 1) << 6 | first[3] >> 2),
    )


def _relay_next(layer: Layer) -> Iterator[Next]:
    """RFC 2427: an unnumbered frame names the protocol of the network layer, a pad byte may come before. Others are
    Cisco's, with an Ethernet type; circuit 0 is the link's own."""
    control = _address_bytes(layer)
    unnumbered = layer.uint(control, 1) == UNNUMBERED
    at = control + np.where(layer.uint(control + 1, 1) == 0, 2, 1)
    kind = layer.uint(at, 1)
    index = np.flatnonzero(layer.has(control + 2) & ~unnumbered & (_circuit(layer) != 0))
    start = (layer.start + control)[index]
    yield Next("chdlc.protocol", (layer.number(start, 2),), index, start + 2, layer.wire_end[index])
    snap = kind == NLPID_SNAP
    index = np.flatnonzero(layer.has(at + 1) & unnumbered & ~snap)
    # ISO's protocols have the identifier as their own first byte.
    start = (layer.start + at + np.where(np.isin(kind, NLPIDS_OSI), 0, 1))[index]
    yield Next("fr.nlpid", (kind[index],), index, start, layer.wire_end[index])
    index = np.flatnonzero(layer.has(at + 6) & unnumbered & snap)
    oui, pid = layer.uint(at + 1, 3)[index], layer.uint(at + 4, 2)[index]
    start = (layer.start + at + 6)[index]
    for organization, table in ((0x000000, "ethertype"), (0x0080C2, "llc.bridged_pid")):
        which = np.flatnonzero(oui == organization)
        yield Next(table, (pid[which],), index[which], start[which], layer.wire_end[index[which]])


def _pflog_bytes(layer: Layer) -> Rows:
    """The header says how long it is, without the padding to four bytes."""
    return (layer.uint(0, 1).astype(np.int64) + 3) & ~3


def _pflog_next(layer: Layer) -> Iterator[Next]:
    size = _pflog_bytes(layer)
    index = np.flatnonzero(layer.has(size) & layer.has(4))
    yield Next("null.family", (layer.uint(1, 1)[index],), index, (layer.start + size)[index], layer.wire_end[index])


def _wrapped(size_at: int, size_bytes: int, link_at: int, least: int) -> Callable[[Layer], Iterable[Next]]:
    """A packet of another link type behind a header that says how long it is and which link type."""

    def follow(layer: Layer) -> Iterator[Next]:
        size = layer.uint(size_at, size_bytes, little=True).astype(np.int64)
        index = np.flatnonzero(layer.has(least) & (size >= least) & (layer.start + size <= layer.wire_end))
        link_type = layer.uint(link_at, 4, little=True)[index]
        yield Next("link_type", (link_type,), index, (layer.start + size)[index], layer.wire_end[index])

    return follow


def _atm_info(layer: Layer) -> list[str | None]:
    circuits = zip(layer.uint(1, 1).tolist(), layer.uint(2, 2).tolist(), strict=True)
    return [f"AAL5 Unknown traffic type VPI={path}, VCI={channel}" for path, channel in circuits]


PROTOCOLS = (
    Protocol(
        "fddi",
        "Fiber Distributed Data Interface",
        "FDDI",
        fields=(
            Field("fddi.fc", "Frame Control", Type.UINT8, 0, base="hex"),
            Field("fddi.dst", "Destination", Type.ETHER, 1),
            Field("fddi.src", "Source", Type.ETHER, 7),
            Field("fddi.addr", "Source or Destination Address", Type.ETHER, either=("fddi.dst", "fddi.src")),
        ),
        keys=(("link_type", 10),),
        follow=_follow("fddi", FDDI_BYTES, _is_llc),
        addresses=("fddi.src", "fddi.dst"),
        tables=("fddi",),
        size=FDDI_BYTES,
    ),
    _arcnet("arcnet", "ARCNET", 7, 2),
    _arcnet("arcnet_linux", "ARCNET", 129, 4),
    Protocol(
        "fr",
        "Frame Relay",
        "FR",
        fields=(Field("fr.dlci", "DLCI", Type.UINT32, make=_circuit, when=lambda layer: layer.has(2)),),
        keys=(("link_type", 107), ("gre.proto", 0x6559)),
        follow=_relay_next,
        tables=("fr.nlpid", "chdlc.protocol", "ethertype", "llc.bridged_pid"),
        size=_address_bytes,
        info=lambda layer: [f"DLCI {one}" for one in _circuit(layer).tolist()],
    ),
    Protocol(
        "atm",
        "Asynchronous Transfer Mode",
        "ATM",
        fields=(
            Field("atm.vpi", "VPI", Type.UINT8, 1),
            Field("atm.vci", "VCI", Type.UINT16, 2),
        ),
        keys=(("link_type", 123),),
        follow=_follow("atm.traffic", ATM_BYTES, lambda layer: (layer.uint(0, 1) & 0x0F).astype(np.uint8)),
        tables=("atm.traffic",),
        size=ATM_BYTES,
        info=_atm_info,
    ),
    Protocol(
        "ipoib",
        "IP over Infiniband",
        "IPoIB",
        fields=(
            Field("ipoib.daddr.qpn", "Destination QPN", Type.UINT24, 21, base="hex"),
            Field("ipoib.dgid", "Destination GID", Type.IPV6, 24),
            Field("ipoib.type", "Type", Type.UINT16, 40, base="hex", names=ETHERTYPES),
            Field("ipoib.reserved", "Reserved", Type.UINT16, 42, base="hex"),
        ),
        keys=(("link_type", 242),),
        follow=_follow("ethertype", INFINIBAND_BYTES, lambda layer: layer.uint(40, 2)),
        tables=("ethertype",),
        size=INFINIBAND_BYTES,
    ),
    Protocol(
        "ipnet",
        "Solaris IPNET",
        "IPNET",
        fields=(
            Field("ipnet.version", "Header version", Type.UINT8, 0),
            Field("ipnet.family", "Address family", Type.UINT8, 1, names=SOLARIS_FAMILIES),
            Field("ipnet.htype", "Hook type", Type.UINT16, 2, names={0: "Inbound", 1: "Outbound", 2: "Local"}),
            Field("ipnet.pktlen", "Data length", Type.UINT32, 4),
            Field("ipnet.ifindex", "Interface index", Type.UINT32, 8),
            Field("ipnet.grifindex", "Group interface index", Type.UINT32, 12),
            Field("ipnet.zsrc", "Source Zone ID", Type.UINT32, 16),
            Field("ipnet.zdst", "Destination Zone ID", Type.UINT32, 20),
        ),
        keys=(("link_type", 226),),
        follow=_follow("raw", IPNET_BYTES, lambda layer: np.where(layer.uint(1, 1) == 2, 4, 6).astype(np.uint8)),
        tables=("raw",),
        size=IPNET_BYTES,
    ),
    Protocol(
        "pflog",
        "OpenBSD Packet Filter log file",
        "PFLOG",
        fields=(
            Field("pflog.length", "Header Length", Type.UINT8, 0),
            Field("pflog.af", "Address Family", Type.UINT8, 1),
            Field("pflog.action", "Action", Type.UINT8, 2, names=PF_ACTIONS),
            Field("pflog.reason", "Reason", Type.UINT8, 3),
        ),
        keys=(("link_type", 117),),
        follow=_pflog_next,
        tables=("null.family",),
        size=_pflog_bytes,
    ),
    Protocol(
        "ppi",
        "Per-Packet Information header",
        "PPI",
        fields=(
            Field("ppi.version", "Version", Type.UINT8, 0),
            Field("ppi.flags", "Flags", Type.UINT8, 1, base="hex"),
            Field("ppi.length", "Header length", Type.UINT16, 2, little=True),
            Field("ppi.dlt", "DLT", Type.UINT32, 4, little=True),
        ),
        keys=(("link_type", 192),),
        follow=_wrapped(2, 2, 4, PPI_MIN_BYTES),
        tables=("link_type",),
    ),
    Protocol(
        "pktap",
        "PKTAP packet header",
        "PKTAP",
        fields=(
            Field("pktap.hdrlen", "Header Length", Type.UINT32, 0, little=True),
            Field("pktap.dlt", "DLT", Type.UINT32, 8, little=True),
        ),
        keys=(("link_type", 258), ("link_type", 149)),
        follow=_wrapped(0, 4, 8, PKTAP_MIN_BYTES),
        tables=("link_type",),
    ),
)
