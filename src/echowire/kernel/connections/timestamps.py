"""When a packet left and when it came, by the kernel's clock: SO_TIMESTAMPING (Documentation/networking/timestamping).

A program that reads the clock before `sendto` and after `recvmsg` measures its own system calls, and its own delays
in being scheduled, with the path. The kernel's software stamps are taken where a packet is handed to the device and
where it comes from it. A receive stamp comes with the packet. A transmit stamp comes back through the error queue,
bearing the number of the datagram within the socket (OPT_ID) and nothing of the datagram itself (OPT_TSONLY).

Both are times of the real-time clock, which may be stepped: who subtracts them must hold the result against the
monotonic clock, as `engines/probing/flight.py` does.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from echowire.core.failures.facts import IcmpReport
from echowire.kernel.connections.icmp_errors import EXTENDED_ERROR, IP_RECVERR, IPV6_RECVERR, QUEUE_BYTES, report_of

# asm-generic/socket.h: the forms whose times are of 64 bits everywhere (Linux 5.1).
SO_TIMESTAMPNS = 64
SO_TIMESTAMPING = 65

# linux/net_tstamp.h
TX_SOFTWARE = 1 << 1
RX_SOFTWARE = 1 << 3
REPORT_SOFTWARE = 1 << 4
OPT_ID = 1 << 7
OPT_TSONLY = 1 << 11
_BOTH = TX_SOFTWARE | RX_SOFTWARE | REPORT_SOFTWARE | OPT_ID | OPT_TSONLY

_TIMES = struct.Struct("=qq")
"""Seconds and nanoseconds; SO_TIMESTAMPING gives three such, of which the first is the software's."""

_ORIGIN_LOCAL = 1
_ORIGIN_TIMESTAMPING = 4  # linux/errqueue.h

RECEIVE_SPACE = 256
"""Room for what comes with a packet: a stamp of up to 48 bytes, the time to live, the address that it was sent to."""

READY_TRIES = 20
READY_WAIT_S = 0.001

Control = Iterable[tuple[int, int, bytes]]


class Entry(NamedTuple):
    """One entry of an error queue: an ICMP error, a refusal of this host for size, or a transmit stamp."""

    data: bytes
    """What was sent, as far as it was quoted; without its IP and UDP headers."""
    address: str
    """Where it was sent."""
    report: IcmpReport | None
    mtu: int | None
    """The size that would have passed, where this host itself refused."""
    stamp_ns: int | None
    """When an error came, or when the datagram left that `stamp_of` counts."""
    stamp_of: int | None


def enable_both(sock: socket.socket) -> bool:
    """Ask for transmit and receive stamps, numbered from 0 with the next datagram; whether the kernel will."""
    try:
        # Numbering starts anew only when it is switched on.
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, _BOTH)
    except OSError:
        return False
    return True


def wait_ready() -> None:
    """Wait until the kernel stamps packets as they come, which it begins to do a moment after it is first asked.

    Until then one is stamped when it is read (net_enable_timestamp in net/core/dev.c, which leaves it to a worker).
    A datagram of our own to ourselves tells. To be called once a socket that asks for stamps is open.
    """
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        enable_receive(sock)
        for _ in range(READY_TRIES):
            sock.sendto(b"", sock.getsockname())
            sent_ns = time.time_ns()
            select.select([sock], [], [], READY_WAIT_S)
            stamp = received_ns(sock.recvmsg(1, RECEIVE_SPACE)[1])
            if stamp is not None and stamp <= sent_ns:
                return
            select.select([], [], [], READY_WAIT_S)


def enable_receive(sock: socket.socket) -> bool:
    """Ask for receive stamps alone; whether the kernel will."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def received_ns(control: Control) -> int | None:
    """The receive stamp in what came with a packet, nanoseconds since 1970; None without one."""
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind in (SO_TIMESTAMPING, SO_TIMESTAMPNS) and len(data) >= _TIMES.size:
            seconds, nanoseconds = _TIMES.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds) or None
    return None


def read_queue(sock: socket.socket) -> Entry | None:
    """The oldest entry of the error queue of a non-blocking socket, taken out of it; None where it is empty."""
    try:
        data, control, _, address = sock.recvmsg(QUEUE_BYTES, QUEUE_BYTES, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    report, mtu, stamp_of = None, None, None
    for level, kind, value in control:
        if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
            continue
        if len(value) < EXTENDED_ERROR.size:
            continue
        _, origin, _, _, info, number = EXTENDED_ERROR.unpack_from(value)
        if origin == _ORIGIN_TIMESTAMPING:
            stamp_of = number
        elif origin == _ORIGIN_LOCAL:
            mtu = info or None
        else:
            report = report_of(value)
    return Entry(data, address[0] if address else "", report, mtu, received_ns(control), stamp_of)
