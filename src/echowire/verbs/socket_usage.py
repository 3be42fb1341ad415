"""Who uses the network, as bytes each way between two looks: TCP by its own counters, UDP by its packets.

A TCP socket counts its bytes itself (TCP_INFO), also for whoever is not root, and its last counters are told at its
end. Whose one was that lived between two looks is told to root by the kernel's tracepoints. UDP counts nothing: for
root, the packets are looked at, their headers alone.
"""

from __future__ import annotations

import errno
import socket
import time
from functools import partial
from struct import pack

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.groups import group_keys, service_of
from echowire.core.sockets.netlink import HEADER, HEADER_BYTES
from echowire.core.sockets.sock_diag import Block, Splitter
from echowire.core.sockets.usage import UsageTable
from echowire.errors import OperationError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.tables import processes
from echowire.kernel.tables.netlink import NetlinkSocket
from echowire.verbs.sockets import SocketInquiry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from echowire.core.captures.ring import Frames
    from echowire.core.sockets.usage import UsageGroup
    from echowire.kernel.captures.ring import PacketRing
    from echowire.verbs.packet_owners import PacketOwners

RECEIVE_BUFFER_BYTES = 32 << 20
"""For the ends of some 20,000 sockets between two `learn`s."""

RING_BYTES = 8 << 20
"""For packets of UDP, of which 128 bytes each are kept."""

MESSAGES_AT_ONCE = 1000
"""Ends of sockets that are read together."""

BLOCKS_AT_ONCE = 64
"""Of the ring, before the ends of sockets have their turn."""

COUNTERS = ("cookie", "tcpi_bytes_sent", "tcpi_bytes_retrans", "tcpi_bytes_received")
"""What is sent again is in the first, and no use of anybody's."""

PLACE = ("local_address", "local_port", "peer_address", "peer_port")


class SocketUsage:
    """Looks again and again; used as a context manager. `notes` say what could not be counted, and why.

    `by` is process, peer, port, user, cgroup or kind. `learn` takes what was told since, and wants to be called several
    times a second on a busy host. `lost` says whether ends of sockets came faster.
    """

    GROUPS = ("process", "peer", "port", "user", "cgroup", "kind")

    def __init__(self, inquiry: SocketInquiry, by: str = "process") -> None:
        self.inquiry, self._by = inquiry, by
        self.notes: list[str] = []
        self.lost = False
        self._table = UsageTable()
        self._splitter = Splitter()
        self._owners: PacketOwners | None = None
        self._ring: PacketRing | None = None
        self._netlink: NetlinkSocket | None = None
        groups = [
            number for (kind, _), number in diag.DESTROY_GROUPS.items() if kind == "tcp" and "tcp" in inquiry.kinds
        ]
        try:
            self._look_deeper()
            # After it: of an end that is told it is then known whose it was.
            with operation("listen to", "sock_diag"):
                self._netlink = inquiry.within(lambda: NetlinkSocket(groups=groups))
            self._netlink.grow(RECEIVE_BUFFER_BYTES)
        except BaseException:
            self.close()
            raise

    def _look_deeper(self) -> None:
        """Have the kernel tell whose short connections are, and give the packets of UDP, where it may be asked."""
        has_udp = "udp" in self.inquiry.kinds
        if not processes.has_capability(processes.CAP_NET_ADMIN):
            self.notes.append("root also sees whose connections of less than a look are, and the bytes of UDP")
            return
        if self.inquiry.namespace is not None:
            if has_udp:
                self.notes.append("bytes of UDP are counted in one's own network namespace alone")
            return
        from echowire.kernel.captures.ring import PacketRing
        from echowire.kernel.captures.ring_socket import RingSocket
        from echowire.verbs.packet_owners import PacketOwners

        # Whose the TCP sockets are that there are already is known by the socket itself.
        self._owners = PacketOwners(("udp",))
        if self._owners.problem:
            self.notes.append(f"whose connections of less than a look are is not told: {self._owners.problem}")
        if has_udp:
            try:
                self._ring = PacketRing(
                    RingSocket(
                        "any", instructions=udp_only(), promiscuous=False, ring_bytes=RING_BYTES, snap_len=SNAP_BYTES
                    )
                )
            except OperationError as error:
                self.notes.append(f"bytes of UDP are not counted: {error}")

    def __enter__(self) -> SocketUsage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._netlink:
            self._netlink.close()
        if self._ring:
            self._ring.close()
        if self._owners:
            self._owners.close()

    def look(self) -> list[UsageGroup]:
        """The groups since the look before, by key; of the first look nothing but the sockets are counted."""
        if self._by == "process" or self.inquiry.names.holders is not None:
            self.inquiry.look_for_processes()
        self.learn()
        reader = self.inquiry.reader
        for block in self.inquiry.blocks():
            none = [None] * block.count
            columns = [reader.column(block, name) or none for name in COUNTERS]
            keys = group_keys(reader, block, self._by, self.inquiry.listening)
            for key, cookie, sent, again, received in zip(keys, *columns, strict=True):
                self._table.see(cookie, key, None if sent is None else sent - (again or 0), received)
        return self._table.take(time.monotonic())

    def learn(self) -> None:
        """Take what the kernel has told since."""
        # Whose a socket was is told before its end, and so read after it.
        ended = list(self._ended())
        if self._owners:
            self._owners.learn()
        for block in ended:
            self._end(block)
        if self._ring:
            for frames in self._ring.blocks(BLOCKS_AT_ONCE):
                self._datagrams(frames)

    def _ended(self) -> Iterator[Block]:
        while self._netlink:
            try:
                buffer = self._netlink.receive_many(MESSAGES_AT_ONCE)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    self.lost = True
                    continue
                raise operation_error("listen to", "sock_diag", error) from error
            if not buffer:
                return
            for block in self._splitter.split(buffer, "tcp"):
                kept = self.inquiry.chosen(block)
                if kept is not None:
                    yield kept

    def _end(self, block: Block) -> None:
        reader = self.inquiry.reader
        columns = [reader.column(block, name) for name in (*COUNTERS, *PLACE)]
        if None in columns:
            return
        keys = group_keys(reader, block, self._by, self.inquiry.listening)
        for key, row in zip(keys, zip(*columns, strict=True), strict=True):
            cookie, sent, again, received, *place = row
            self._table.end(cookie, partial(self._key, key, *place), sent - again, received)

    def _key(self, key: str, local: str, port: int, peer: str | None, other: int) -> str:
        """The group of a socket that is gone: what is left of it does not say whose it was."""
        if self._by not in ("process", "user") or self._owners is None:
            return key if self._by not in ("process", "user") else "?"
        ends = (_packed(local), port or 0, _packed(peer), other or 0)
        owner = self._owners.table.owner((6, *ends), time.monotonic_ns())
        if owner is None:
            return "?"
        if self._by == "process":
            return f"{owner.name} (pid {owner.pid})"
        uid = processes.user_of(owner.pid)
        return owner.of.partition(",")[0] or "?" if uid is None else processes.user_name(uid)

    def _datagrams(self, frames: Frames) -> None:
        from echowire.core.owners.datagram_bytes import datagram_bytes

        assert self._owners is not None and self._ring is not None
        for (source, sport, target, dport), size in datagram_bytes(frames, self._ring.link_type).items():
            now = time.monotonic_ns()
            for ours, port, theirs, other, is_sent in (
                (source, sport, target, dport, True),
                (target, dport, source, sport, False),
            ):
                owner = self._owners.table.owner((17, ours, port, theirs, other), now)
                if owner is None or not self._is_chosen(ours, port, theirs, other):
                    continue
                key = self._datagram_key(owner.pid, f"{owner.name} (pid {owner.pid})", port, theirs, other)
                self._table.add(key, size if is_sent else 0, 0 if is_sent else size)

    def _datagram_key(self, pid: int, process: str, port: int, peer: bytes, other: int) -> str:
        if self._by == "process":
            return process
        if self._by == "user":
            uid = processes.user_of(pid)
            return "?" if uid is None else processes.user_name(uid)
        if self._by == "port":
            return service_of(port, other, self.inquiry.listening)
        return {"peer": _text(peer), "kind": "udp"}.get(self._by, "-")

    def _is_chosen(self, local: bytes, port: int, peer: bytes, other: int) -> bool:
        if not self.inquiry.has_filter:
            return True
        is_v4 = local.startswith(MAPPED)
        family, ends = (2, (local[12:].ljust(16, b"\0"), peer[12:].ljust(16, b"\0"))) if is_v4 else (10, (local, peer))
        body = pack("=BBBB", family, 1, 0, 0) + pack(">HH16s16s", port, other, *ends) + bytes(28)
        message = pack(HEADER, HEADER_BYTES + len(body), diag.SOCK_DIAG_BY_FAMILY, 0, 0, 0) + body
        (block,) = self._splitter.split(message, "udp")
        return self.inquiry.chosen(block) is not None


MAPPED = bytes(10) + b"\xff\xff"
SNAP_BYTES = 128
"""Of each packet: the headers, with IPv4's options."""


def udp_only() -> bytes:
    """A classic BPF program that keeps UDP over IPv4 and IPv6, by the network's header (linux/filter.h, SKF_…)."""
    from echowire.core.bpf.classic import (
        BPF_ABS,
        BPF_B,
        BPF_H,
        BPF_JEQ,
        BPF_JMP,
        BPF_K,
        BPF_LD,
        accept,
        bpf_jump,
        bpf_stmt,
    )

    protocol, header = 0xFFFF_F000, 0xFFF0_0000  # SKF_AD_OFF + SKF_AD_PROTOCOL, SKF_NET_OFF
    equal = BPF_JMP | BPF_JEQ | BPF_K
    return b"".join(
        [
            bpf_stmt(BPF_LD | BPF_H | BPF_ABS, protocol),
            bpf_jump(equal, 0x0800, 0, 2),
            bpf_stmt(BPF_LD | BPF_B | BPF_ABS, header + 9),
            bpf_jump(equal, 17, 2, 3),
            bpf_jump(equal, 0x86DD, 0, 2),
            bpf_stmt(BPF_LD | BPF_B | BPF_ABS, header + 6),
            bpf_jump(equal, 17, 0, 1),
            accept(SNAP_BYTES),
            accept(0),
        ]
    )


def _packed(host: str | None) -> bytes:
    if host is None:
        return bytes(16)
    return socket.inet_pton(socket.AF_INET6, host) if ":" in host else MAPPED + socket.inet_aton(host)


def _text(address: bytes) -> str:
    family, data = (socket.AF_INET, address[12:]) if address.startswith(MAPPED) else (socket.AF_INET6, address)
    return socket.inet_ntop(family, data)
