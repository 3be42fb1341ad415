"""The frame: what the capture file itself says of a packet, and what went wrong in reading it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import NO_INTERFACE, Rows
from echowire.core.captures.ticks import NO_TIME
from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Next, Picked, Protocol
from echowire.core.packets.packet_list import COLUMN_FIELDS
from echowire.core.packets.processes import PROCESS_FIELDS

BY_TYPE = frozenset({"eth", "vlan", "ieee8021ad", "ieee8021ah", "avsp", "macsec", "sll", "sll2"})
"""Protocols between which and the next one Wireshark counts the Ethernet type as a layer of its own."""

ONE_NAME = {"sll2": "sll", "arcnet_linux": "arcnet", "igmp": "igmp:igmp"}
"""What Wireshark calls protocols that it does not call by their own name: those whose headers are laid out differently
are the same to it, and IGMP is there twice, by itself and by its version."""

UNNAMED = frozenset({"isl"})
"""Protocols that Wireshark leaves out of a frame's list."""

ENCAPSULATIONS = {
    0: 15,
    1: 1,
    6: 2,
    7: 8,
    8: 3,
    9: 4,
    10: 6,
    50: 4,
    51: 139,
    100: 10,
    101: 7,
    104: 28,
    105: 20,
    107: 26,
    108: 174,
    113: 25,
    117: 39,
    119: 21,
    122: 18,
    123: 13,
    127: 23,
    129: 9,
    138: 62,
    140: 42,
    141: 43,
    163: 24,
    166: 4,
    177: 88,
    187: 41,
    189: 95,
    192: 97,
    195: 104,
    201: 99,
    220: 115,
    226: 124,
    227: 125,
    228: 129,
    229: 130,
    230: 127,
    239: 141,
    242: 180,
    249: 152,
    251: 154,
    253: 158,
    258: 171,
    276: 210,
}
"""Wireshark's own numbers of link types, by LINKTYPE_."""

UNKNOWN_ENCAPSULATION = 0


def _timed(layer: Layer) -> Picked:
    known = layer.records.time_ns != NO_TIME
    return Picked(np.flatnonzero(known), layer.records.time_ns[known])


class _Clock:
    """The times of the first packet and the last, as far as the file was read."""

    first = NO_TIME
    last = NO_TIME


def _deltas(layer: Layer) -> tuple[Rows, Rows]:
    """Nanoseconds since the packet before and since the first. The first call counts, in the order of the file."""

    def made() -> tuple[Rows, Rows]:
        clock: _Clock = layer.memory.of("frame times", _Clock)
        times = layer.records.time_ns
        known = np.flatnonzero(times != NO_TIME)
        since_last, since_first = np.zeros(len(times), np.int64), np.zeros(len(times), np.int64)
        if len(known):
            mine = times[known]
            if clock.first == NO_TIME:
                clock.first = clock.last = int(mine[0])
            since_last[known] = np.diff(mine, prepend=clock.last)
            since_first[known] = mine - clock.first
            clock.last = int(mine[-1])
        return since_last, since_first

    return layer.once("deltas", made)


def _remember(layer: Layer) -> None:
    _deltas(layer)


def _delta(which: int) -> Callable[[Layer], Picked]:
    def make(layer: Layer) -> Picked:
        index = np.flatnonzero(layer.records.time_ns != NO_TIME)
        return Picked(index, _deltas(layer)[which][index])

    return make


def _numbered(layer: Layer) -> NDArray[np.bool_]:
    """Packets whose file numbers and names its interfaces: pcapng's."""
    records = layer.records
    if not any(section.is_pcapng for section in records.sections):
        return np.zeros(len(records), np.bool_)
    found: NDArray[np.bool_] = records.interface != NO_INTERFACE
    return found


def _interface(layer: Layer) -> Picked:
    index = np.flatnonzero(_numbered(layer))
    # Each section of a file counts its interfaces from 0.
    first = np.array([one.first_of_section for one in layer.records.interfaces], np.int64)
    numbers = layer.records.interface[index]
    return Picked(index, (numbers - first[numbers]).astype(np.uint32))


def _interface_text(attribute: str, absent: str | None) -> Callable[[Layer], Picked]:
    """What the file says of each packet's interface."""

    def make(layer: Layer) -> Picked:
        said = [getattr(one, attribute) or absent for one in layer.records.interfaces]
        numbers = layer.records.interface
        index = np.flatnonzero(_numbered(layer) & np.array([*(one is not None for one in said), False])[numbers])
        return Picked(index, objects([*said, None])[numbers[index]])

    return make


def _encapsulation(layer: Layer) -> Picked:
    index = np.flatnonzero(layer.records.interface != NO_INTERFACE)
    kinds, which = np.unique(layer.records.link_type[index], return_inverse=True)
    numbers = np.array([ENCAPSULATIONS.get(kind, UNKNOWN_ENCAPSULATION) for kind in kinds.tolist()], np.int16)
    return Picked(index, numbers[which] if len(index) else numbers)


def _comments(layer: Layer) -> Picked:
    found = [(row, text) for row in layer.records.option_row.tolist() for text in layer.records.comments(row)]
    return Picked(np.array([row for row, _ in found], np.int64), objects([text for _, text in found]))


def _faults(layer: Layer, *, short: bool) -> Picked:
    """Packets of which a layer ends before what it must have: because they were cut, or because they are malformed."""
    rows: set[int] = set()
    for inner in layer.chunk[1:]:
        if inner.walked:
            rows.update(inner.rows[inner.walked.short if short else inner.walked.malformed].tolist())
        size = inner.protocol.size
        if size is None:
            continue
        need = inner.start + (size if isinstance(size, int) else size(inner))
        missing = need > inner.end
        rows.update(inner.rows[missing & ((inner.end < inner.wire_end) == short)].tolist())
    index = np.array(sorted(rows), np.int64)
    return Picked(index, np.ones(len(index), np.uint8))


def _protocols(layer: Layer) -> Column:
    """`eth:ethertype:ip:tcp`: all layers of each packet, as Wireshark writes it."""
    paths: list[str] = [""]
    path_of = np.zeros(len(layer), np.int64)
    for inner in layer.chunk[1:]:
        if inner.protocol.is_part or inner.protocol.name in UNNAMED:
            continue
        name = ONE_NAME.get(inner.protocol.name, inner.protocol.name)
        if inner.table == "ethertype" and inner.parent is not None and inner.parent.protocol.name in BY_TYPE:
            name = f"ethertype:{name}"
        before, number = np.unique(path_of[inner.rows], return_inverse=True)
        grown = [f"{paths[old]}:{name}" if paths[old] else name for old in before.tolist()]
        path_of[inner.rows] = number + len(paths)
        paths += grown
    return objects(paths)[path_of]


def _label(layer: Layer) -> list[str]:
    records = layer.records
    rows = zip(records.number.tolist(), records.length.tolist(), records.cap_len.tolist(), strict=True)
    return [
        f" {number}: {had} bytes on wire ({8 * had} bits), {kept} bytes captured ({8 * kept} bits)"
        for number, had, kept in rows
    ]


def _next(layer: Layer) -> Iterator[Next]:
    yield Next("link_type", (layer.records.link_type,), layer.every, layer.records.start, layer.wire_end)


PROTOCOLS = (
    Protocol(
        "frame",
        "Frame",
        fields=(
            Field("frame.number", "Frame Number", Type.FRAME_NUMBER, make=lambda layer: layer.records.number),
            Field("frame.time", "Arrival Time", Type.ABSOLUTE_TIME, make=_timed),
            Field("frame.time_epoch", "Epoch Time", Type.ABSOLUTE_TIME, make=_timed, base="epoch"),
            Field("frame.encap_type", "Encapsulation type", Type.INT16, make=_encapsulation),
            Field("frame.interface_id", "Interface id", Type.UINT32, make=_interface),
            Field("frame.interface_name", "Interface name", Type.STRING, make=_interface_text("name", "unknown")),
            Field(
                "frame.interface_description",
                "Interface description",
                Type.STRING,
                make=_interface_text("description", None),
            ),
            Field(
                "frame.time_delta",
                "Time delta from previous captured frame",
                Type.RELATIVE_TIME,
                make=_delta(0),
                generated=True,
                remembered=True,
            ),
            Field(
                "frame.time_delta_displayed",
                "Time delta from previous displayed frame",
                Type.RELATIVE_TIME,
                make=_delta(0),
                generated=True,
                remembered=True,
            ),
            Field(
                "frame.time_relative",
                "Time since reference or first frame",
                Type.RELATIVE_TIME,
                make=_delta(1),
                generated=True,
                remembered=True,
            ),
            Field(
                "frame.len",
                "Frame Length",
                Type.UINT32,
                make=lambda layer: np.maximum(layer.records.length - layer.records.header, 0),
            ),
            Field(
                "frame.cap_len",
                "Capture Length",
                Type.UINT32,
                make=lambda layer: layer.records.cap_len - layer.records.header,
            ),
            Field("frame.comment", "Comment", Type.STRING, make=_comments),
            Field("frame.protocols", "Protocols in frame", Type.STRING, make=_protocols, whole=True, generated=True),
            Field(
                "_ws.malformed",
                "Malformed Packet",
                Type.NONE,
                make=lambda layer: _faults(layer, short=False),
                whole=True,
                hidden=True,
            ),
            Field(
                "_ws.short",
                "Packet size limited during capture",
                Type.NONE,
                make=lambda layer: _faults(layer, short=True),
                whole=True,
                hidden=True,
            ),
            *PROCESS_FIELDS,
            *COLUMN_FIELDS,
        ),
        label=_label,
        follow=_next,
        remember=_remember,
        tables=("link_type",),
    ),
)
