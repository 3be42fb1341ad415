"""Sending to many, and hearing who answers: a socket that is connected to nobody, and a loop that keeps to its pace.

A connected UDP socket hears its peer alone, and those who answer for a group do so from their own addresses. Nothing
holds a sender of datagrams back, so a pace there always is: what is due is sent, and what has come is read in between.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

from echowire.core.load.group_ledger import GroupAnswer, GroupLedger
from echowire.core.probing.icmp import ECHO_REPLY, pack_echo, read_echo
from echowire.errors import UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.connections.accept import address_text
from echowire.kernel.connections.datagrams import DATAGRAM_MAX
from echowire.kernel.connections.groups import Sending, prepare_sending
from echowire.kernel.connections.listen import DATAGRAM_BUFFER_BYTES
from echowire.kernel.connections.resolve import Source, source_addresses
from echowire.model import Endpoint

SO_RCVBUFFORCE, SO_MEMINFO, MEMINFO_DROPS = 33, 55, 8  # asm-generic/socket.h, linux/sock_diag.h

CATCH_UP_S = 0.1
"""How far behind its pace the sending may be and still catch up: a moment's pause of this process, not its lack of
speed, which would be a burst that no sender meant."""

FULL_QUEUE_S = 0.001
"""How long an interface whose queue is full is given before it is tried again."""

READS_A_TURN = 64
"""Answers read before what is due is sent."""


class GroupSocket:
    """A socket that sends to a group, or to all of a link, and hears whoever answers; used as a context manager."""

    def __init__(self, endpoint: Endpoint, address: tuple[Any, ...], how: Sending, source: Source) -> None:
        """`address` is the socket address of `endpoint`. Raises `OperationError`."""
        self._address = address
        self._named = str(endpoint) if endpoint.port else endpoint.host  # a ping has no port
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with operation("socket", self._named):
            self._socket = self._open(family)
        try:
            for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE, socket.SO_SNDBUF):
                with suppress(OSError):  # the second takes CAP_NET_ADMIN
                    self._socket.setsockopt(socket.SOL_SOCKET, option, DATAGRAM_BUFFER_BYTES)
            with operation("set the interface for", self._named):
                prepare_sending(self._socket, how)
            bound = source_addresses(source, [(family, address[:2])]).get(family)
            if bound is None:
                raise UsageError(f"{self._named}: the source is of another family")
            with operation("bind", f"{bound[0]}:{bound[1]}/udp"):
                self._socket.bind(bound)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, family: int) -> socket.socket:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def __enter__(self) -> GroupSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send one datagram, waiting for room in the buffer. Raises `OperationError`."""
        with operation("send", self._named):
            while True:
                try:
                    self._socket.sendto(data, self._address)
                    return
                except BlockingIOError:
                    select.select([], [self._socket], [], CATCH_UP_S)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:  # the interface's own queue, which no descriptor tells of
                        raise
                    threading.Event().wait(FULL_QUEUE_S)

    def receive(self) -> tuple[str, bytes] | None:
        """Who answered, and what; None where nothing waits."""
        try:
            data, address = self._socket.recvfrom(DATAGRAM_MAX)
        except BlockingIOError:
            return None
        return address_text(address), data

    def wait(self, seconds: float) -> bool:
        """Wait until something has come, for at most so long; whether it has."""
        return bool(select.select([self._socket], [], [], max(0.0, seconds))[0])

    @property
    def dropped(self) -> int:
        """Answers that this host threw away because the socket's buffer was full."""
        with suppress(OSError):
            raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
            return int(struct.unpack_from("=I", raw, 4 * MEMINFO_DROPS)[0])
        return 0


class PingSocket(GroupSocket):
    """The same by ICMP's echo: what is sent is the data of a request, and what is heard that of a reply to it.

    It is a ping socket (icmp(7)) where `net.ipv4.ping_group_range` lets this user have one, else a raw one.
    """

    def _open(self, family: int) -> socket.socket:
        self._version: Literal[4, 6] = 6 if family == socket.AF_INET6 else 4
        self._number, self._identifier, self._is_raw = 0, int.from_bytes(os.urandom(2), "big"), False
        protocol = socket.IPPROTO_ICMPV6 if self._version == 6 else socket.IPPROTO_ICMP
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            return socket.socket(family, socket.SOCK_DGRAM | flags, protocol)
        except PermissionError:
            self._is_raw = True
            return socket.socket(family, socket.SOCK_RAW | flags, protocol)

    def send(self, data: bytes) -> None:
        """Send one request. Raises `OperationError`."""
        request = pack_echo(self._version, self._identifier, self._number & 0xFFFF, data)
        self._number += 1
        super().send(request)

    def receive(self) -> tuple[str, bytes] | None:
        """Who replied, and the data; None where no reply waits."""
        while (heard := super().receive()) is not None:
            sender, packet = heard
            if self._is_raw and self._version == 4:
                packet = packet[(packet[0] & 0xF) * 4 :] if packet else b""
            echo = read_echo(packet)
            # Of a ping socket the identifier is the kernel's, which gives it its own replies alone.
            is_reply = echo is not None and echo.type == ECHO_REPLY[self._version]
            if echo is not None and is_reply and (not self._is_raw or echo.identifier == self._identifier):
                return sender.rpartition(":")[0].strip("[]"), bytes(echo.data)
        return None


def run(
    channel: GroupSocket,
    ledger: GroupLedger,
    messages: Iterable[bytes],
    *,
    interval_s: float,
    wait_s: float,
    on_answer: Callable[[GroupAnswer], object] | None = None,
    until: float | None = None,
) -> None:
    """Send `messages`, `interval_s` apart, until `until` by the monotonic clock; then wait `wait_s` for what is late.

    When the first and the last one went is in the ledger, and whatever was heard, also where the sending raises
    `OperationError`.
    """
    clock = time.perf_counter

    def hear(most: int) -> None:
        for _ in range(most):
            if (heard := channel.receive()) is None:
                return
            answer = ledger.received(*heard, clock())
            if on_answer is not None:
                on_answer(answer)

    due = clock()
    for message in messages:
        while (left := due - clock()) > 0:
            if channel.wait(left):
                hear(READS_A_TURN)
        now = clock()
        if until is not None and now >= until:
            break
        ledger.note_sent(message, now)
        channel.send(message)
        ledger.sent_until = clock()
        hear(READS_A_TURN)
        due = max(due, now - CATCH_UP_S) + interval_s
    ends = clock() + wait_s
    while (left := ends - clock()) > 0:
        if channel.wait(left):
            hear(READS_A_TURN)
