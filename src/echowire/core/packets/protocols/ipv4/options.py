"""IPv4's options (RFC 791, section 3.1; RFC 2113; RFC 1108): a part of the header, walked one by one."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.walk import MalformedError, Walk

END, NO_OPERATION, RECORD, TIMESTAMP, LOOSE, STREAM, STRICT, ALERT = 0, 1, 7, 68, 131, 136, 137, 148
SECURITY = 130
MTU_PROBE, MTU_REPLY = 11, 12

NAMES = {
    END: "End of Options List (EOL)",
    NO_OPERATION: "No-Operation (NOP)",
    RECORD: "Record Route",
    MTU_PROBE: "MTU Probe",
    MTU_REPLY: "MTU Reply",
    25: "Quick-Start",
    TIMESTAMP: "Time Stamp",
    82: "Traceroute",
    SECURITY: "Security",
    LOOSE: "Loose Source Route",
    133: "Extended Security",
    134: "Commercial Security",
    STREAM: "Stream ID",
    STRICT: "Strict Source Route",
    ALERT: "Router Alert",
    149: "Selective Directed Broadcast",
}
NUMBERS = {
    0: "End of Option List (EOL)",
    1: "No-Operation (NOP)",
    2: "Security",
    3: "Loose source route",
    4: "Time stamp",
    5: "Extended security",
    6: "Commercial IP security option",
    7: "Record route",
    8: "Stream identifier",
    9: "Strict source route",
    11: "MTU probe",
    12: "MTU Reply",
    18: "Traceroute",
    20: "Router Alert",
    21: "Selective Directed Broadcast",
    25: "Quick-Start",
}
CLASSES = {0: "Control", 1: "Reserved for future use", 2: "Debugging and measurement", 3: "Reserved for future use"}
STAMP_FLAGS = {0: "Time stamps only", 1: "Time stamp and address", 3: "Time stamps for prespecified addresses"}

TYPE = Field("ip.opt.type", "Type", Type.UINT8)
COPY = Field("ip.opt.type.copy", "Copy on fragmentation", Type.BOOLEAN, mask=0x80, names={0: "No", 1: "Yes"})
CLASS = Field("ip.opt.type.class", "Class", Type.UINT8, mask=0x60, names=CLASSES)
NUMBER = Field("ip.opt.type.number", "Number", Type.UINT8, mask=0x1F, names=NUMBERS)
LENGTH = Field("ip.opt.len", "Length", Type.UINT8)
POINTER = Field("ip.opt.ptr", "Pointer", Type.UINT8)
RECORDED = Field("ip.rec_rt", "Recorded Route", Type.IPV4)
TO_COME = Field("ip.src_rt", "Source Route", Type.IPV4)
EMPTY = Field("ip.empty_rt", "Empty Route", Type.IPV4)
STREAM_ID = Field("ip.opt.sid", "Stream Identifier", Type.UINT16)
MTU = Field("ip.opt.mtu", "MTU", Type.UINT16)
ROUTER_ALERT = Field("ip.opt.ra", "Router Alert", Type.UINT16)
OVERFLOW = Field("ip.opt.overflow", "Overflow", Type.UINT8, mask=0xF0)
FLAG = Field("ip.opt.flag", "Flag", Type.UINT8, mask=0x0F, base="hex", names=STAMP_FLAGS)
STAMP = Field("ip.opt.time_stamp", "Time stamp", Type.UINT32)
STAMP_ADDRESS = Field("ip.opt.time_stamp_addr", "Address", Type.IPV4)
FIELDS = (
    TYPE,
    COPY,
    CLASS,
    NUMBER,
    LENGTH,
    POINTER,
    RECORDED,
    TO_COME,
    EMPTY,
    STREAM_ID,
    MTU,
    ROUTER_ALERT,
    OVERFLOW,
    FLAG,
    STAMP,
    STAMP_ADDRESS,
)
NUMBERED = {STREAM: STREAM_ID, MTU_PROBE: MTU, MTU_REPLY: MTU, ALERT: ROUTER_ALERT}


def _walk(walk: Walk) -> None:
    """Type, length, value; the two options of one byte have no length."""
    at = 0
    while at < walk.wire_size:
        kind = walk.u8(at)
        size = 1 if kind in (END, NO_OPERATION) else walk.u8(at + 1)
        name = NAMES.get(kind, f"Unknown (0x{kind:02x})")
        said = "" if size == 1 else f" ({size} bytes)"
        with walk.subtree(f"IP Option - {name}{said}", at, max(min(size, walk.size - at), 0)):
            walk.add(TYPE, kind, at, 1)
            with walk.subtree():
                for field in (COPY, CLASS, NUMBER):
                    walk.add_uint(field, at)
            if kind == END:
                return
            if kind != NO_OPERATION:
                walk.add_uint(LENGTH, at + 1)
                if size < 2 or at + size > walk.wire_size:
                    raise MalformedError("an option's length cannot be")
                _walk_option(walk, kind, at, size)
        at += size


def _walk_option(walk: Walk, kind: int, at: int, size: int) -> None:
    if kind in (RECORD, LOOSE, STRICT) and size >= 3:
        _walk_route(walk, kind, at, size)
    elif kind in NUMBERED and size == 4:
        walk.add_uint(NUMBERED[kind], at + 2)
    elif kind == TIMESTAMP and size >= 4:
        walk.add_uint(POINTER, at + 2)
        walk.add_uint(OVERFLOW, at + 3)
        with_address = walk.add_uint(FLAG, at + 3) != 0
        each = 8 if with_address else 4
        for place in range(at + 4, at + size - each + 1, each):
            if with_address:
                walk.add_uint(STAMP_ADDRESS, place)
            walk.add_uint(STAMP, place + each - 4)


def _walk_route(walk: Walk, kind: int, at: int, size: int) -> None:
    """Addresses before the pointer were passed; those behind it are to come, or room for what will be recorded. The
    last to come is where the packet is to go in the end, and that is IP's own field."""
    pointer = walk.add_uint(POINTER, at + 2)
    for place in range(at + 3, at + size - 3, 4):
        passed = place - at + 1 < pointer
        if kind == RECORD:
            walk.add_uint(RECORDED if passed else EMPTY, place)
        elif passed:
            walk.add_uint(RECORDED, place)
        elif place + 4 < at + size:
            walk.add_uint(TO_COME, place)


PROTOCOLS = (
    Protocol(
        "ip.options",
        "Options",
        fields=FIELDS,
        keys=(("ip.options", 0),),
        walk=_walk,
        label=lambda layer: [f": ({size} bytes)" for size in (layer.wire_end - layer.start).tolist()],
        is_part=True,
    ),
)
