"""The network interfaces of this namespace: addresses by netlink (rtnetlink(7)), the rest from /sys/class/net."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from echowire.core.captures.interfaces import NetworkInterface
from echowire.kernel.boundary import operation

RTM_NEWADDR, RTM_GETADDR = 20, 22
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NETLINK_ROUTE = 0
HEADER = struct.Struct("=IHHII")
ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
ATTRIBUTE = struct.Struct("=HH")
IFA_ADDRESS, IFA_LOCAL = 1, 2
RECEIVE_BYTES = 65536
"""Room for one answer: the kernel fills buffers of 32 KiB."""

IFF_UP, IFF_LOOPBACK = 1, 8


def list_interfaces() -> list[NetworkInterface]:
    """All of them, up before down and loopback after others. Raises `OperationError`."""
    with operation("list interfaces on", "this host"):
        addresses = _addresses()
        names = socket.if_nameindex()
    found = [_described(name, addresses.get(index, ())) for index, name in names]
    return sorted(found, key=lambda one: (not one.is_up, one.is_loopback, not one.addresses))


def addresses_by_interface() -> dict[str, list[str]]:
    """The addresses of each interface, with the length of their prefix. Raises `OperationError`."""
    with operation("list addresses on", "this host"):
        names = dict(socket.if_nameindex())
        return {names[index]: texts for index, texts in _addresses().items() if index in names}


def host_addresses() -> list[str]:
    """The addresses of all interfaces. Raises `OperationError`."""
    with operation("list addresses on", "this host"):
        return [text.partition("/")[0] for texts in _addresses().values() for text in texts]


def _described(name: str, addresses: tuple[str, ...] | list[str]) -> NetworkInterface:
    flags = int(_read(name, "flags") or "0", 16)
    speed = _read(name, "speed")
    return NetworkInterface(
        name=name,
        state=_read(name, "operstate") or "unknown",
        is_up=bool(flags & IFF_UP),
        is_loopback=bool(flags & IFF_LOOPBACK),
        addresses=tuple(addresses),
        bits_per_s=int(speed) * 1_000_000 if speed.isdigit() and int(speed) else None,
        mac=_read(name, "address"),
    )


def _read(name: str, attribute: str) -> str:
    with suppress(OSError):  # a driver that does not know its speed answers EINVAL
        return Path("/sys/class/net", name, attribute).read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _addresses() -> dict[int, list[str]]:
    """The addresses by number of interface."""
    found: dict[int, list[str]] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE) as netlink:
        size = HEADER.size + ADDRESS.size
        netlink.send(HEADER.pack(size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes(ADDRESS.size))
        while True:
            for kind, body in _messages(netlink.recv(RECEIVE_BYTES)):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number))
                if kind == RTM_NEWADDR:
                    index, text = _address(body)
                    found.setdefault(index, []).append(text)


def _messages(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + HEADER.size <= len(buffer):
        size, kind, _, _, _ = HEADER.unpack_from(buffer, at)
        yield kind, buffer[at + HEADER.size : at + size]
        at += max(size + 3 & -4, HEADER.size)


def _address(body: bytes) -> tuple[int, str]:
    family, prefix, _, _, index = ADDRESS.unpack_from(body)
    values, at = {}, ADDRESS.size
    while at + ATTRIBUTE.size <= len(body):
        size, kind = ATTRIBUTE.unpack_from(body, at)
        values[kind] = body[at + ATTRIBUTE.size : at + size]
        at += max(size + 3 & -4, ATTRIBUTE.size)
    raw = values.get(IFA_LOCAL, values.get(IFA_ADDRESS, b""))  # of a point-to-point link the latter is the peer's
    return index, f"{socket.inet_ntop(family, raw)}/{prefix}"
