"""VLAN tags: IEEE 802.1Q, provider bridging (802.1ad) and provider backbone bridging (802.1ah)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from echowire.core.packets.assigned import ETHERTYPES
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Next, Protocol
from echowire.core.packets.protocols.ethernet.protocol import MAX_LENGTH, MIN_TYPE, after_type, type_column

TAG_BYTES = 4
PROVIDER_BRIDGE, BACKBONE_BRIDGE = 0x88A8, 0x88E7

PRIORITIES = {
    0: "Best Effort (default)",
    1: "Background",
    2: "Excellent Effort",
    3: "Critical Applications",
    4: "Video, < 100ms latency and jitter",
    5: "Voice, < 10ms latency and jitter",
    6: "Internetwork Control",
    7: "Network Control",
}
ELIGIBLE = {0: "Ineligible", 1: "Eligible"}


def _next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(TAG_BYTES))
    yield from after_type(layer, layer.uint(2, 2)[index], index, layer.start[index] + TAG_BYTES, layer.wire_end[index])


def _label(layer: Layer) -> list[str]:
    tags = layer.uint(0, 2).tolist()
    return [f", PRI: {tag >> 13}, DEI: {tag >> 12 & 1}, ID: {tag & 0xFFF}" for tag in tags]


def _info(layer: Layer) -> list[str | None]:
    tags = layer.uint(0, 2).tolist()
    return [f"PRI: {tag >> 13}  DEI: {tag >> 12 & 1}  ID: {tag & 0xFFF}" for tag in tags]


def _backbone_next(layer: Layer) -> Iterator[Next]:
    index = np.flatnonzero(layer.has(18))
    yield from after_type(layer, layer.uint(16, 2)[index], index, layer.start[index] + 18, layer.wire_end[index])


PROTOCOLS = (
    Protocol(
        "vlan",
        "802.1Q Virtual LAN",
        lambda layer: type_column(layer.uint(2, 2), "VLAN"),
        fields=(
            Field("vlan.priority", "Priority", Type.UINT16, 0, mask=0xE000, names=PRIORITIES),
            Field("vlan.dei", "DEI", Type.BOOLEAN, 0, 2, mask=0x1000, names=ELIGIBLE),
            Field("vlan.id", "ID", Type.UINT16, 0, mask=0x0FFF),
            Field(
                "vlan.etype",
                "Type",
                Type.UINT16,
                2,
                base="hex",
                names=ETHERTYPES,
                when=lambda layer: layer.uint(2, 2) >= MIN_TYPE,
            ),
            Field("vlan.len", "Length", Type.UINT16, 2, when=lambda layer: layer.uint(2, 2) <= MAX_LENGTH),
        ),
        keys=(("ethertype", 0x8100), ("ethertype", 0x9100)),
        follow=_next,
        tables=("ethertype", "802.3"),
        size=TAG_BYTES,
        label=_label,
        info=_info,
        least=2,
    ),
    Protocol(
        "ieee8021ad",
        "IEEE 802.1ad",
        "802.1ad",
        fields=(
            Field("ieee8021ad.priority", "Priority", Type.UINT16, 0, mask=0xE000),
            Field("ieee8021ad.dei", "DEI", Type.UINT16, 0, mask=0x1000),
            Field("ieee8021ad.id", "ID", Type.UINT16, 0, mask=0x0FFF),
            Field("ieee8021ah.etype", "Type", Type.UINT16, 2, base="hex", names=ETHERTYPES),
        ),
        keys=(("ethertype", PROVIDER_BRIDGE),),
        follow=_next,
        tables=("ethertype", "802.3"),
        size=TAG_BYTES,
        label=lambda layer: [f", ID: {tag & 0xFFF}" for tag in layer.uint(0, 2).tolist()],
        info=_info,
    ),
    Protocol(
        "ieee8021ah",
        "IEEE 802.1ah",
        "802.1ah",
        fields=(
            Field("ieee8021ah.priority", "Priority", Type.UINT32, 0, mask=0xE0000000),
            Field("ieee8021ah.drop", "DROP", Type.UINT32, 0, mask=0x10000000),
            Field("ieee8021ah.nca", "NCA", Type.UINT32, 0, mask=0x08000000),
            Field("ieee8021ah.isid", "I-SID", Type.UINT32, 0, mask=0x00FFFFFF),
            Field("ieee8021ah.cdst", "C-Destination", Type.ETHER, 4),
            Field("ieee8021ah.csrc", "C-Source", Type.ETHER, 10),
            Field("ieee8021ah.etype", "Type", Type.UINT16, 16, base="hex", names=ETHERTYPES),
        ),
        keys=(("ethertype", BACKBONE_BRIDGE),),
        follow=_backbone_next,
        tables=("ethertype", "802.3"),
        size=18,
    ),
)
