"""Datagrams whose source address is another's, and servers that answer whoever writes: what reply loops are made of."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.netns import Namespace

UDP = struct.Struct("!HHHH")


def forge(host: Namespace | None, source: tuple[str, int], target: tuple[str, int], payload: bytes) -> None:
    """Send a datagram from `host` (None: here) to `target` that claims to come from `source`. Needs root."""
    here, there = ipaddress.ip_address(source[0]), ipaddress.ip_address(target[0])
    is_v6 = there.version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    make = socket.socket if host is None else host.socket
    with make(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        size = UDP.size + len(payload)
        udp = UDP.pack(source[1], target[1], size, 0) + payload
        if is_v6:
            pseudo = here.packed + there.packed + struct.pack("!II", size, socket.IPPROTO_UDP)
            udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp)) + payload
            header = struct.pack("!IHBB", 6 << 28, size, socket.IPPROTO_UDP, 64) + here.packed + there.packed
        else:  # no checksum is given (RFC 768)
            numbers = (0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0)
            header = struct.pack("!BBHHHBBH", *numbers) + here.packed + there.packed
        raw.sendto(header + udp, (target[0], 0))


def _checksum(data: bytes) -> int:
    """RFC 1071's, and 0xFFFF for zero (RFC 8200 section 8.1)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF) or 0xFFFF


class ForeignServer:
    """Somebody else's datagram server: it answers whatever comes, to whoever it seems to come from, and counts."""

    def __init__(self, sock: socket.socket, answer: Callable[[bytes], bytes], delay_s: float) -> None:
        self.socket = sock
        self.answered = 0
        self._answer = answer
        self._delay_s = delay_s
        self._stopped_out, self._stopped_in = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def address(self) -> Any:
        """Where it is."""
        return self.socket.getsockname()

    def stop(self) -> None:
        """End it."""
        self._stopped_in.close()
        self._thread.join()
        self._stopped_out.close()
        self.socket.close()

    def _run(self) -> None:
        while True:
            ready = select.select([self.socket, self._stopped_out], [], [])[0]
            if self._stopped_out in ready:
                return
            data, address = self.socket.recvfrom(65_536)
            if self._delay_s and select.select([self._stopped_out], [], [], self._delay_s)[0]:
                return
            self.socket.sendto(self._answer(data), address)
            self.answered += 1


@contextmanager
def foreign_server(
    sock: socket.socket, answer: Callable[[bytes], bytes] = bytes, *, delay_s: float = 0.0
) -> Iterator[ForeignServer]:
    """Serve `sock`, which is bound, with `answer`, each after `delay_s`."""
    server = ForeignServer(sock, answer, delay_s)
    try:
        yield server
    finally:
        server.stop()
