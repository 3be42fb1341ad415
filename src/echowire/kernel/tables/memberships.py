"""The groups that this thread's network namespace has joined, and which sockets of which processes have joined them.

The kernel lists how many users a group has, and tells nobody who they are: no table of sockets has a socket's groups.
But it tells whoever holds the socket (RFC 3678, MCAST_MSFILTER), and one that may trace a process can have its
descriptor for a moment (pidfd_getfd(2), Linux 5.6). So each socket that could have joined is asked. Nothing of it is
changed by that.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
from contextlib import suppress
from dataclasses import replace

from echowire.core.sockets.fields import HOLDER
from echowire.core.sockets.memberships import (
    Member,
    Membership,
    parse_dev_mcast,
    parse_igmp,
    parse_igmp6,
    parse_sources,
)
from echowire.kernel.tables import processes
from echowire.model import host_and_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NET = "/proc/thread-self/net"
TABLES = ("udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
"""The kinds of sockets that can join a group of IP."""

SYS_PIDFD_GETFD = 438  # the same on every architecture
MCAST_MSFILTER = 48  # linux/in.h
MCAST_INCLUDE = 1
SOCKADDR_BYTES = 128
FILTER_HEAD = struct.Struct("=I4x128sII")
"""`struct group_filter`: interface, group, mode, number of sources; those follow."""
SOURCES_MAX = 64
"""Of one socket that are listed; `net.ipv4.igmp_max_msf` allows ten unless it was raised."""


def memberships(*, with_members: bool = True, link_layer: bool = False) -> list[Membership]:
    """All memberships, by interface, IPv4 before IPv6; with `link_layer` those of the links too.

    What could not be read is absent; `members` are empty where no process could be looked into.
    """
    sources = parse_sources([*_lines("mcfilter"), *_lines("mcfilter6")])
    found = [*parse_igmp(_lines("igmp")), *parse_igmp6(_lines("igmp6"))]
    if link_layer:
        found += parse_dev_mcast(_lines("dev_mcast"))
    found = [replace(one, sources=tuple(sources.get((one.index, one.group), ()))) for one in found]
    if with_members:
        found = _with_members(found)
    return sorted(found, key=lambda one: (one.index, one.family or 9))


def _lines(name: str) -> list[str]:
    try:
        with open(f"{NET}/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return list(file)
    except OSError:
        return []


def _with_members(found: list[Membership]) -> list[Membership]:
    asked = [one for one in found if one.family]
    members: dict[tuple[int, str], list[Member]] = {}
    for descriptor, pid, local in _sockets():
        try:
            for one in asked:
                if (said := _filter(descriptor, one)) is not None:
                    mode, sources = said
                    member = Member(pid, processes.name_of(pid), local, mode, sources)
                    members.setdefault((one.index, one.group), []).append(member)
        finally:
            os.close(descriptor)
    return [replace(one, members=tuple(members.get((one.index, one.group), ()))) for one in found]


def _sockets() -> Iterator[tuple[int, int, str]]:
    """A copy of the descriptor of each socket that could have joined, its process, and its local address.

    Of several processes that hold one, the first. The copy is the caller's to close.
    """
    local = {inode: address for table in TABLES for inode, address in _inodes(_lines(table))}
    if not local:
        return
    holders, _ = processes.socket_holders()
    for inode, address in local.items():
        for pid, descriptor in HOLDER.iter_unpack(holders.get(inode, b"")):
            with suppress(OSError):
                yield _copied(pid, descriptor), pid, address
                break


def _inodes(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Inode and local address of each socket of a table of /proc/net."""
    for line in lines[1:]:
        words = line.split()
        if len(words) > 9 and words[9].isdigit():
            host, _, port = words[1].partition(":")
            packed = b"".join(struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
            yield int(words[9]), host_and_port(str(ipaddress.ip_address(packed)), int(port, 16))


_libc = ctypes.CDLL(None, use_errno=True)


def _copied(pid: int, descriptor: int) -> int:
    """A copy of another process's descriptor. Raises `OSError`: EPERM, ESRCH, EBADF."""
    process = os.pidfd_open(pid)
    try:
        copy = int(_libc.syscall(SYS_PIDFD_GETFD, process, descriptor, 0))
    finally:
        os.close(process)
    if copy < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return copy


def _filter(descriptor: int, group: Membership) -> tuple[str, tuple[str, ...]] | None:
    """Mode and sources with which the socket has joined `group`; None if it has not."""
    packed = ipaddress.ip_address(group.group).packed
    if group.family == 4:
        level, body = socket.IPPROTO_IP, struct.pack("=H2x4s", socket.AF_INET, packed)
    else:
        level, body = socket.IPPROTO_IPV6, struct.pack("=H2x4x16s4x", socket.AF_INET6, packed)
    buffer = ctypes.create_string_buffer(FILTER_HEAD.size + SOURCES_MAX * SOCKADDR_BYTES)
    FILTER_HEAD.pack_into(buffer, 0, group.index, body, 0, SOURCES_MAX)
    size = ctypes.c_uint32(len(buffer))
    if _libc.getsockopt(descriptor, level, MCAST_MSFILTER, buffer, ctypes.byref(size)):
        return None
    _, _, mode, count = FILTER_HEAD.unpack_from(buffer)
    at, offset = (4, 4) if group.family == 4 else (8, 16)
    sources = []
    for number in range(min(count, SOURCES_MAX)):
        start = FILTER_HEAD.size + number * SOCKADDR_BYTES + at
        sources.append(str(ipaddress.ip_address(buffer.raw[start : start + offset])))
    return ("include" if mode == MCAST_INCLUDE else "exclude"), tuple(sources)
