"""IGMP, versions 1 to 3 (RFC 1112, RFC 2236, RFC 3376). All have the same query: its length tells the version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.cells import ipv4_cells
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Item, Layer, Protocol
from echowire.core.packets.walk import Walk

QUERY, REPORT_1, REPORT_2, LEAVE, REPORT_3 = 0x11, 0x12, 0x16, 0x17, 0x22
DVMRP, PIM = 0x13, 0x14
"""Routing protocols of their own, which once shared IGMP's number."""

VERSION_3_QUERY_BYTES = 12

TYPES = {
    0x01: "Create Group Request",
    0x02: "Create Group Reply",
    0x03: "Join Group Request",
    0x04: "Join Group Reply",
    0x05: "Leave Group Request",
    0x06: "Leave Group Reply",
    0x07: "Confirm Group Request",
    0x08: "Confirm Group Reply",
    QUERY: "Membership Query",
    REPORT_1: "Membership Report",
    DVMRP: "DVMRP Protocol",
    PIM: "PIM Routing Message",
    REPORT_2: "Membership Report",
    LEAVE: "Leave Group",
    0x1E: "Traceroute Response",
    0x1F: "Traceroute Query or Request",
    REPORT_3: "Membership Report",
}
RECORDS = {
    1: "Mode Is Include",
    2: "Mode Is Exclude",
    3: "Change To Include Mode",
    4: "Change To Exclude Mode",
    5: "Allow New Sources",
    6: "Block Old Sources",
}
INCLUDES, EXCLUDES, ALLOW, BLOCK = (1, 3), (2, 4), 5, 6

GROUP = Field("igmp.maddr", "Multicast Address", Type.IPV4)
SOURCE = Field("igmp.saddr", "Source Address", Type.IPV4)
SUPPRESS = Field("igmp.s", "S", Type.BOOLEAN, size=1, mask=0x08)
ROBUSTNESS = Field("igmp.qrv", "QRV", Type.UINT8, mask=0x07)
INTERVAL = Field("igmp.qqic", "QQIC", Type.UINT8)
SOURCES = Field("igmp.num_src", "Num Src", Type.UINT16)
RECORD_COUNT = Field("igmp.num_grp_recs", "Num Group Records", Type.UINT16)
RECORD = Field("igmp.record_type", "Record Type", Type.UINT8, names=RECORDS)
EXTRA = Field("igmp.aux_data_len", "Aux Data Len", Type.UINT8)
RESPONSE = Field("igmp.max_resp", "Max Resp Time", Type.UINT16)
WALKED = (RESPONSE, RECORD_COUNT, RECORD, EXTRA, SUPPRESS, ROBUSTNESS, INTERVAL, SOURCES, GROUP, SOURCE)


def _versions(layer: Layer) -> NDArray[np.uint8]:
    kind, response = layer.uint(0, 1), layer.uint(1, 1)
    size = layer.wire_end - layer.start
    query = np.where(size >= VERSION_3_QUERY_BYTES, 3, np.where(response == 0, 1, 2))
    known = np.select([kind == QUERY, kind == REPORT_3, np.isin(kind, (REPORT_2, LEAVE))], [query, 3, 2], 1)
    found: NDArray[np.uint8] = known.astype(np.uint8)
    return found


def _walk(walk: Walk) -> None:
    kind = walk.u8(0)
    if kind == REPORT_3:
        _walk_report(walk)
    elif kind in (QUERY, REPORT_1, REPORT_2, LEAVE):
        third = kind == QUERY and walk.wire_size >= VERSION_3_QUERY_BYTES
        code = walk.u8(1)
        if kind in (REPORT_2, LEAVE) or third or code:
            walk.add(RESPONSE, _response_time(code) if third else code, 1, 1)
        walk.add_uint(GROUP, 4)
        if third:
            walk.add_uint(SUPPRESS, 8)
            walk.add_uint(ROBUSTNESS, 8)
            walk.add_uint(INTERVAL, 9)
            for number in range(walk.add_uint(SOURCES, 10)):
                walk.add_uint(SOURCE, 12 + 4 * number)


def _response_time(code: int) -> int:
    """Tenths of a second; from 128 up a floating-point number (RFC 3376, section 4.1.1)."""
    return code if code < 128 else (code & 0x0F | 0x10) << ((code >> 4 & 0x07) + 3)


def _walk_report(walk: Walk) -> None:
    at = 8
    for _ in range(walk.add_uint(RECORD_COUNT, 6)):
        name = RECORDS.get(walk.u8(at), "Unknown")
        count = walk.u16(at + 2)
        group = ".".join(map(str, walk.take(at + 4, 4)))
        with walk.subtree(f"Group Record : {group}  {name}", at, 8 + 4 * count):
            walk.add_uint(RECORD, at)
            extra = walk.add_uint(EXTRA, at + 1)
            walk.add_uint(SOURCES, at + 2)
            walk.add_uint(GROUP, at + 4)
            for number in range(count):
                walk.add_uint(SOURCE, at + 8 + 4 * number)
        at += 8 + 4 * (count + extra)


def _info(layer: Layer) -> list[str | None]:
    kinds, has = layer.uint(0, 1).tolist(), layer.has(8).tolist()
    walked = layer.walked.items if layer.walked else [[] for _ in kinds]
    return [_sentence(*one) if one[1] else None for one in zip(kinds, has, walked, strict=True)]


def _sentence(kind: int, _has: bool, items: list[Item]) -> str:
    name = TYPES.get(kind, f"Unknown Type:0x{kind:02x}")
    if kind == REPORT_3:
        return name + "".join(f" / {one}" for one in _records(items))
    group = next((one.value for one in items if one.field is GROUP), 0)
    if kind == QUERY:
        sources = [one.value for one in items if one.field is SOURCE]
        listed = f", sources {{{', '.join(_texts(sources))}}}" if sources else ""
        if not any(one.field is RESPONSE for one in items):
            return name  # of version 1
        return f"{name}, {f'specific for group {_texts([group])[0]}' if group else 'general'}{listed}"
    if kind == LEAVE:
        return f"{name} {_texts([group])[0]}"
    return f"{name} group {_texts([group])[0]}" if kind == REPORT_2 else name


def _records(items: list[Item]) -> list[str]:
    """What each group record asks for."""
    found: list[str] = []
    kind, group, sources = 0, 0, list[int]()
    for item in [*items, None]:
        if item is None or item.field is RECORD:
            if kind:
                found.append(_record(kind, _texts([group])[0], _texts(sources)))
            kind, sources = (0 if item is None else item.value), []
        elif item.field is GROUP:
            group = item.value
        elif item.field is SOURCE:
            sources.append(item.value)
    return found


def _record(kind: int, group: str, sources: list[str]) -> str:
    listed = f"{{{', '.join(sources)}}}"
    if kind in INCLUDES:
        if not sources:
            return f"Leave group {group}"
        return f"Join group {group} for source{'s in' if len(sources) > 1 else ''} {listed}"
    if kind in EXCLUDES:
        return f"Join group {group}, for sources not in {listed}" if sources else f"Join group {group} for any sources"
    if kind in (ALLOW, BLOCK):
        return f"Group {group}, {'new sources' if kind == ALLOW else 'block sources'} {listed}"
    return f"Group {group}"


def _texts(addresses: list[int]) -> list[str]:
    rows = ipv4_cells(np.array(addresses, np.uint32))
    return [row.tobytes().replace(b"\0", b"").decode() for row in rows]


PROTOCOLS = (
    Protocol(
        "igmp",
        "Internet Group Management Protocol",
        lambda layer: [f"IGMPv{version}" for version in _versions(layer).tolist()],
        fields=(
            Field("igmp.version", "IGMP Version", Type.UINT8, make=_versions, generated=True),
            Field("igmp.type", "Type", Type.UINT8, 0, base="hex", names=TYPES),
            Field("igmp.checksum", "Checksum", Type.UINT16, 2, base="hex"),
            *WALKED,
        ),
        keys=(("ip.proto", 2),),
        accepts=lambda layer: ~np.isin(layer.uint(0, 1), (DVMRP, PIM)),
        walk=_walk,
        info=_info,
    ),
)
