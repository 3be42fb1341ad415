"""TCP segments of a handshake, for probes whose ports must stay the same (RFC 9293 section 3.1). Pure.

The sequence number is within the eight bytes that every ICMP error quotes, and comes back in the answer's
acknowledgement: it says which probe a segment was.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from echowire.core.packets.tcp.header import SYN
from echowire.core.probing.icmp import TCP, Version, checksum

HEADER = struct.Struct(">HHIIBBHHH")
WINDOW = 65_535
MSS_OPTION = struct.Struct(">BBH")
MSS: dict[int, int] = {4: 1460, 6: 1440}


class Segment(NamedTuple):
    """What is read of a segment."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledged: int
    flags: int


def pack_syn(version: Version, source: str, destination: str, ports: tuple[int, int], sequence: int) -> bytes:
    """A SYN from `source` to `destination`, with its checksum over the pseudo-header too."""
    options = MSS_OPTION.pack(2, 4, MSS[version])
    length = HEADER.size + len(options)

    def segment(total: int) -> bytes:
        return HEADER.pack(*ports, sequence, 0, (length // 4) << 4, SYN, WINDOW, total, 0) + options

    addresses = b"".join(ipaddress.ip_address(at.partition("%")[0]).packed for at in (source, destination))
    return segment(checksum(addresses + struct.pack(">II", length, TCP) + segment(0)))


def read_segment(data: bytes | memoryview) -> Segment | None:
    """The head of a segment; None where it is cut."""
    if len(data) < HEADER.size:
        return None
    source, destination, sequence, acknowledged, _, flags, _, _, _ = HEADER.unpack_from(data)
    return Segment(source, destination, sequence, acknowledged, flags)


def read_quoted_segment(data: bytes) -> tuple[int, int, int] | None:
    """Both ports and the sequence number of a segment of which an error quotes eight bytes or more."""
    return struct.unpack_from(">HHI", data) if len(data) >= 8 else None
