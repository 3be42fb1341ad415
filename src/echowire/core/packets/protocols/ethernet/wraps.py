"""What wraps a whole Ethernet frame: Cisco's Inter-Switch Link, and FabricPath; and what stands between its header and
the packet: Arista's timestamps, MACsec (IEEE 802.1AE) without encryption."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol
from echowire.core.packets.protocols.ethernet.protocol import FCS_BYTES, after_type

ISL_BYTES, FABRIC_PATH_BYTES = 26, 16
ETHERNET_FRAME = 0
"""ISL's type of a frame that is Ethernet's."""

ARISTA_TIMESTAMP = 1
ARISTA_64_BITS, ARISTA_48_BITS = (0x0010, 0x0110), (0x0020, 0x0120)
"""Versions: what follows is a time of eight bytes, or of six."""

ENCRYPTED, CHANGED, WITH_CHANNEL = 0x08, 0x04, 0x20
MACSEC_CHECK_BYTES = 16


def _isl_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(ISL_BYTES) & (layer.uint(5, 1) >> 4 == ETHERNET_FRAME))
    # The length does not count the first 12 bytes and ISL's own check sequence.
    end = np.minimum(layer.start + 14 + layer.uint(12, 2), layer.wire_end)
    yield Next("eth.inner", (0,), index, layer.start[index] + ISL_BYTES, end[index])


def _fabric_path_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(FABRIC_PATH_BYTES))
    start = layer.start[index] + FABRIC_PATH_BYTES
    yield Next("eth.inner", (0,), index, start, np.maximum(layer.wire_end[index] - FCS_BYTES, start))


def _arista_bytes(layer: Layer) -> Rows:
    return np.where(np.isin(layer.uint(2, 2), ARISTA_48_BITS), 10, 12).astype(np.int64)


def _arista_next(layer: Layer) -> Iterator[Next]:
    known = np.isin(layer.uint(2, 2), ARISTA_64_BITS + ARISTA_48_BITS)
    yield from _typed(layer, _arista_bytes(layer), known & (layer.uint(0, 2) == ARISTA_TIMESTAMP), layer.wire_end)


def _macsec_bytes(layer: Layer) -> Rows:
    return np.where(layer.uint(0, 1) & WITH_CHANNEL, 14, 6).astype(np.int64)


def _macsec_next(layer: Layer) -> Iterator[Next]:
    clear = layer.uint(0, 1) & (ENCRYPTED | CHANGED) == 0
    end = np.maximum(layer.wire_end - MACSEC_CHECK_BYTES, layer.start)
    yield from _typed(layer, _macsec_bytes(layer), clear, end)


def _typed(layer: Layer, size: Rows, which: NDArray[np.bool_], end: Rows) -> Iterator[Next]:
    """What follows an Ethernet type that stands behind `size` bytes."""
    index = np.flatnonzero(layer.has(size + 2) & which)
    kind = layer.uint(size, 2)[index]
    yield from after_type(layer, kind, index, (layer.start + size + 2)[index], end[index])


def _has_channel(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = layer.uint(0, 1) & WITH_CHANNEL != 0
    return found


PROTOCOLS = (
    Protocol(
        "isl",
        "Cisco ISL",
        "ISL",
        fields=(
            Field("isl.dst", "Destination", Type.ETHER, 0),
            Field("isl.type", "Type", Type.UINT8, 5, mask=0xF0, names={0: "Ethernet", 1: "Token Ring", 2: "FDDI"}),
            Field("isl.src", "Source", Type.ETHER, 6),
            Field("isl.addr", "Source or Destination Address", Type.ETHER, either=("isl.dst", "isl.src")),
            Field("isl.len", "Length", Type.UINT16, 12),
            Field("isl.dsap", "DSAP", Type.UINT8, 14, base="hex"),
            Field("isl.ssap", "SSAP", Type.UINT8, 15, base="hex"),
            Field("isl.control", "Control", Type.UINT8, 16, base="hex"),
            Field("isl.hsa", "HSA", Type.UINT24, 17, base="hex"),
            Field("isl.vlan_id", "VLAN ID", Type.UINT16, 20, mask=0xFFFE),
            Field("isl.bpdu", "BPDU/CDP/VTP", Type.BOOLEAN, 20, 2, mask=0x0001),
            Field("isl.index", "Index", Type.UINT16, 22),
        ),
        keys=(("eth.wrap", 1),),
        follow=_isl_next,
        tables=("eth.inner",),
        size=ISL_BYTES,
        info=lambda layer: [f"VLAN ID: {tag >> 1}" for tag in layer.uint(20, 2).tolist()],
    ),
    Protocol(
        "cfp",
        "Cisco FabricPath",
        "CFP",
        fields=(
            Field("cfp.d_hmac_mc", "MC Destination", Type.ETHER, 0, when=lambda layer: layer.uint(0, 1) & 1 == 1),
            Field("cfp.etype", "FP Ethertype", Type.UINT16, 12, base="hex", names=ETHERTYPES),
            Field("cfp.ftag", "FTAG", Type.UINT16, 14, mask=0xFFC0),
            Field("cfp.ttl", "TTL", Type.UINT16, 14, mask=0x003F),
        ),
        keys=(("eth.wrap", 2),),
        follow=_fabric_path_next,
        tables=("eth.inner",),
        size=FABRIC_PATH_BYTES,
    ),
    Protocol(
        "avsp",
        "Arista Vendor Specific Protocol",
        "AVSP",
        fields=(
            Field("avsp.sub_type", "Sub Type", Type.UINT16, 0, names={ARISTA_TIMESTAMP: "timestamp"}),
            Field("avsp.ver", "Version", Type.UINT16, 2, base="hex"),
        ),
        keys=(("ethertype", 0xD28B),),
        follow=_arista_next,
        tables=("ethertype", "802.3"),
        size=lambda layer: _arista_bytes(layer) + 2,
    ),
    Protocol(
        "macsec",
        "802.1AE Security tag",
        "MACSEC",
        fields=(
            Field("macsec.TCI", "TCI", Type.UINT8, 0, mask=0xFC, base="hex"),
            Field("macsec.AN", "AN", Type.UINT8, 0, mask=0x03, base="hex"),
            Field("macsec.SL", "Short length", Type.UINT8, 1),
            Field("macsec.PN", "Packet number", Type.UINT32, 2),
            Field("macsec.SCI.system_identifier", "System Identifier", Type.ETHER, 6, when=_has_channel),
            Field("macsec.SCI.port_identifier", "Port Identifier", Type.UINT16, 12, when=_has_channel),
        ),
        keys=(("ethertype", 0x88E5),),
        follow=_macsec_next,
        tables=("ethertype", "802.3"),
        size=_macsec_bytes,
        info=lambda layer: ["MACsec frame"] * len(layer),
    ),
)
