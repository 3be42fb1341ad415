"""IEEE 802.11: frame control and addresses of all frames, management frames with their elements, data down to LLC."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Item, Layer, Next, Picked, Protocol
from echowire.core.packets.protocols.radiotap import DATA_PAD
from echowire.core.packets.protocols.radiotap import flags as radio_flags
from echowire.core.packets.walk import Walk

MANAGEMENT, CONTROL, DATA = 0, 1, 2
TO_DS, FROM_DS, PROTECTED, ORDER = 0x01, 0x02, 0x40, 0x80
HEADER_BYTES, ADDRESS_BYTES, QOS_BYTES, HT_BYTES = 24, 6, 2, 4
QOS, NO_DATA = 0x8, 0x4
"""Bits of a data frame's subtype."""

AMSDU = 0x80
"""The bit of QoS control that says that several frames are in one."""

TWO_ADDRESSES = (8, 9, 10, 11, 14, 15)
"""Control frames that tell who sent them: block acknowledgments, PS-Poll, RTS, CF-End."""

ASSOCIATION, REASSOCIATION, PROBE_RESPONSE, BEACON = 0, 2, 5, 8
FIXED = {0: 4, 1: 6, 2: 10, 3: 6, 4: 0, PROBE_RESPONSE: 12, BEACON: 12, 10: 2, 11: 6, 12: 2}
"""Bytes of each management frame before its elements; other kinds have none that are read."""

SSID_ELEMENT, CHANNEL_ELEMENT = 0, 3

TYPES = {0: "Management frame", 1: "Control frame", 2: "Data frame", 3: "Extension frame"}
SUBTYPES = {
    0: "Association Request",
    1: "Association Response",
    2: "Reassociation Request",
    3: "Reassociation Response",
    4: "Probe Request",
    5: "Probe Response",
    6: "Measurement Pilot",
    8: "Beacon frame",
    9: "ATIM",
    10: "Disassociate",
    11: "Authentication",
    12: "Deauthentication",
    13: "Action",
    14: "Action No Ack",
    15: "Aruba Management",
    18: "Trigger",
    20: "Beamforming Report Poll",
    21: "VHT/HE NDP Announcement",
    23: "Control Wrapper",
    24: "802.11 Block Ack Req",
    25: "802.11 Block Ack",
    26: "Power-Save poll",
    27: "Request-to-send",
    28: "Clear-to-send",
    29: "Acknowledgement",
    30: "CF-End (Control-frame)",
    31: "CF-End + CF-Ack (Control-frame)",
    32: "Data",
    33: "Data + CF-Ack",
    34: "Data + CF-Poll",
    35: "Data + CF-Ack + CF-Poll",
    36: "Null function (No data)",
    37: "Acknowledgement (No data)",
    38: "CF-Poll (No data)",
    39: "CF-Ack/Poll (No data)",
    40: "QoS Data",
    41: "QoS Data + CF-Acknowledgment",
    42: "QoS Data + CF-Poll",
    43: "QoS Data + CF-Ack + CF-Poll",
    44: "QoS Null function (No data)",
    46: "QoS CF-Poll (No Data)",
    47: "QoS CF-Ack + CF-Poll (No data)",
    48: "DMG Beacon",
    49: "S1G Beacon",
}


class _Kind:
    """What each frame is, and where its addresses and its body are."""

    def __init__(self, layer: Layer) -> None:
        control, more = layer.uint(0, 1), layer.uint(1, 1)
        self.type, self.subtype = control >> 2 & 3, control >> 4
        self.number = (self.type.astype(np.uint16) << 4) | self.subtype
        to_ds, from_ds = more & TO_DS != 0, more & FROM_DS != 0
        self.management, self.data = self.type == MANAGEMENT, self.type == DATA
        self.is_long = self.management | self.data
        self.four = self.data & to_ds & from_ds
        self.qos = self.data & (self.subtype & QOS != 0)
        ordered = (more & ORDER != 0) & (self.qos | self.management)
        self.body = HEADER_BYTES + ADDRESS_BYTES * self.four + QOS_BYTES * self.qos + HT_BYTES * ordered
        self.qos_at = HEADER_BYTES + ADDRESS_BYTES * self.four
        self.sender = self.is_long | np.isin(self.subtype, TWO_ADDRESSES) & (self.type == CONTROL)
        nowhere = np.full(len(layer), -1)
        self.at = {
            "ra": np.full(len(layer), 4),
            "ta": np.where(self.sender, 10, nowhere),
            "da": np.where(self.is_long, np.where(self.data & to_ds, 16, 4), nowhere),
            "sa": np.where(self.is_long, np.where(self.four, 24, np.where(self.data & from_ds, 16, 10)), nowhere),
            "bssid": np.where(
                self.is_long & ~self.four,
                np.where(self.data & to_ds, 4, np.where(self.data & from_ds, 10, 16)),
                nowhere,
            ),
        }


def _kind(layer: Layer) -> _Kind:
    return layer.once("kind", lambda: _Kind(layer))


def _address(name: str) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        at = _kind(layer).at[name]
        index = np.flatnonzero((at >= 0) & layer.has(at + ADDRESS_BYTES))
        return Picked(index, layer.uint(np.maximum(at, 0), 6)[index])

    return make


def _qos(layer: Layer) -> Picked:
    kind = _kind(layer)
    index = np.flatnonzero(kind.qos & layer.has(kind.qos_at + QOS_BYTES))
    return Picked(index, layer.uint(kind.qos_at, 2, little=True)[index])


def _qos_bits(mask: int) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        found = _qos(layer)
        return Picked(found.index, (found.values & mask).astype(np.uint16))

    return make


def _padding(layer: Layer) -> Rows:
    """Bytes by which a header is padded to four, where the capture says so."""
    around = layer.outer("radiotap")
    if around is None:
        return np.zeros(len(layer), np.int64)
    padded = radio_flags(around[0])[around[1]] & DATA_PAD != 0
    return np.where(padded & _kind(layer).data, -_kind(layer).body % 4, 0)


def _next(layer: Layer) -> Iterator[Next]:
    kind = _kind(layer)
    start = layer.start + kind.body + _padding(layer)
    has_body = kind.data & (kind.subtype & NO_DATA == 0) & (start < layer.end)
    hidden = layer.uint(1, 1) & PROTECTED != 0
    several = kind.qos & (layer.uint(kind.qos_at, 1) & AMSDU != 0)
    for table, which in (("wlan.body", has_body & ~hidden & ~several), ("", has_body & (hidden | several))):
        index = np.flatnonzero(which)
        yield Next(table, (0,), index, start[index], layer.wire_end[index])


TAG = Field("wlan.tag.number", "Tag Number", Type.UINT8)
TAG_LENGTH = Field("wlan.tag.length", "Tag length", Type.UINT32)
SSID = Field("wlan.ssid", "SSID", Type.BYTES)
CHANNEL = Field("wlan.ds.current_channel", "Current Channel", Type.UINT8)
TIMESTAMP = Field("wlan.fixed.timestamp", "Timestamp", Type.UINT64, little=True)
INTERVAL = Field("wlan.fixed.beacon", "Beacon Interval", Type.UINT32, size=2, little=True)
REASON = Field("wlan.fixed.reason_code", "Reason code", Type.UINT16, little=True, base="hex")
STATUS = Field("wlan.fixed.status_code", "Status code", Type.UINT16, little=True, base="hex")
SEQUENCE = Field("wlan.fixed.auth_seq", "Authentication SEQ", Type.UINT16, little=True, base="hex")
WALKED = (TIMESTAMP, INTERVAL, REASON, STATUS, SEQUENCE, TAG, TAG_LENGTH, SSID, CHANNEL)


def _walk(walk: Walk) -> None:
    """A management frame: what its kind has first, then elements."""
    control, more = walk.u8(0), walk.u8(1)
    subtype = control >> 4
    fixed = FIXED.get(subtype)
    if control >> 2 & 3 != MANAGEMENT or more & PROTECTED or fixed is None:
        return
    at = HEADER_BYTES + (HT_BYTES if more & ORDER else 0)
    if subtype in (PROBE_RESPONSE, BEACON):
        walk.add_uint(TIMESTAMP, at)
        walk.add_uint(INTERVAL, at + 8)
    elif subtype in (10, 12):
        walk.add_uint(REASON, at)
    elif subtype in (1, 3):
        walk.add_uint(STATUS, at + 2)
    elif subtype == 11:
        walk.add_uint(SEQUENCE, at + 2)
        walk.add_uint(STATUS, at + 4)
    at += fixed
    while at + 2 <= walk.wire_size:
        number, size = walk.u8(at), walk.u8(at + 1)
        if at + 2 + size > walk.wire_size:
            return  # the check sequence, where nobody said that there is one
        with walk.subtree(f"Tag: {number}", at, 2 + size):
            walk.add_uint(TAG, at)
            walk.add(TAG_LENGTH, size, at + 1, 1)
            if number == SSID_ELEMENT and size:
                walk.add(SSID, walk.take(at + 2, size), at + 2, size)
            elif number == CHANNEL_ELEMENT and size:
                walk.add_uint(CHANNEL, at + 2)
        at += 2 + size


def _flag_letters(more: int) -> str:
    letters = "opmPRMFT"
    return "".join(letter if more >> (7 - place) & 1 else "." for place, letter in enumerate(letters))


def _info(layer: Layer) -> list[str | None]:
    kind = _kind(layer)
    columns = (kind.number, layer.uint(22, 2, little=True), layer.uint(1, 1), kind.is_long, layer.has(2), layer.has(24))
    walked = layer.walked.items if layer.walked else [[] for _ in range(len(layer))]
    found: list[str | None] = []
    for (number, sequence, more, is_long, has, whole), items in zip(
        zip(*(column.tolist() for column in columns), strict=True), walked, strict=True
    ):
        text = SUBTYPES.get(number, "Unrecognized (Reserved frame)")
        if is_long and whole:
            text += f", SN={sequence >> 4}, FN={sequence & 0xF}"
        if whole or not is_long:
            text += f", Flags={_flag_letters(more)}"
        interval = next((one.value for one in items if one.field is INTERVAL), None)
        text += "" if interval is None else f", BI={interval}"
        if items:
            text += _network(items)
        found.append(text if has else None)
    return found


def _network(items: list[Item]) -> str:
    name = next((one.value for one in items if one.field is SSID), None)
    if name is not None:
        return f', SSID="{name.decode("utf-8", "replace")}"'
    return ", SSID=Wildcard (Broadcast)" if any(one.field is TAG and one.value == SSID_ELEMENT for one in items) else ""


def _is_long(layer: Layer) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _kind(layer).is_long
    return found


def _bit(name: str, label: str, mask: int) -> Field:
    return Field(f"wlan.fc.{name}", label, Type.BOOLEAN, 1, mask=mask, under="wlan.flags")


PROTOCOLS = (
    Protocol(
        "wlan",
        "IEEE 802.11",
        "802.11",
        fields=(
            Field(
                "wlan.fc.type_subtype",
                "Type/Subtype",
                Type.UINT16,
                base="hex",
                names=SUBTYPES,
                make=lambda layer: _kind(layer).number,
                when=lambda layer: layer.has(2),
            ),
            Field("wlan.fc", "Frame Control Field", Type.UINT16, 0, base="hex"),
            Field("wlan.fc.version", "Version", Type.UINT8, 0, mask=0x03, under="wlan.fc"),
            Field("wlan.fc.type", "Type", Type.UINT8, 0, mask=0x0C, names=TYPES, under="wlan.fc"),
            Field("wlan.fc.subtype", "Subtype", Type.UINT8, 0, mask=0xF0, under="wlan.fc"),
            Field("wlan.flags", "Flags", Type.UINT8, 1, base="hex"),
            Field("wlan.fc.ds", "DS status", Type.UINT8, 1, mask=0x03, base="hex", under="wlan.flags"),
            _bit("tods", "To DS", 0x01),
            _bit("fromds", "From DS", 0x02),
            _bit("frag", "More Fragments", 0x04),
            _bit("retry", "Retry", 0x08),
            _bit("pwrmgt", "PWR MGT", 0x10),
            _bit("moredata", "More Data", 0x20),
            _bit("protected", "Protected flag", 0x40),
            _bit("order", "+HTC/Order flag", 0x80),
            Field("wlan.duration", "Duration", Type.UINT16, 2, mask=0x7FFF, little=True),
            Field("wlan.ra", "Receiver address", Type.ETHER, make=_address("ra")),
            Field("wlan.ta", "Transmitter address", Type.ETHER, make=_address("ta")),
            Field("wlan.da", "Destination address", Type.ETHER, make=_address("da")),
            Field("wlan.sa", "Source address", Type.ETHER, make=_address("sa")),
            Field("wlan.bssid", "BSS Id", Type.ETHER, make=_address("bssid")),
            Field(
                "wlan.addr",
                "Hardware address",
                Type.ETHER,
                either=("wlan.ra", "wlan.ta", "wlan.da", "wlan.sa", "wlan.bssid"),
            ),
            Field("wlan.frag", "Fragment number", Type.UINT16, 22, mask=0x000F, little=True, when=_is_long),
            Field("wlan.seq", "Sequence number", Type.UINT16, 22, mask=0xFFF0, little=True, when=_is_long),
            Field("wlan.qos", "Qos Control", Type.UINT16, base="hex", make=_qos),
            Field("wlan.qos.tid", "TID", Type.UINT16, make=_qos_bits(0x000F), under="wlan.qos"),
            Field("wlan.qos.priority", "Priority", Type.UINT16, make=_qos_bits(0x0007), under="wlan.qos"),
            *WALKED,
        ),
        keys=(("link_type", 105), ("wlan", 0)),
        follow=_next,
        walk=_walk,
        addresses=("wlan.ta", "wlan.ra"),
        tables=("wlan.body",),
        size=lambda layer: _kind(layer).body,
        info=_info,
        least=2,
    ),
)
