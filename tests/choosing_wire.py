"""A wire that chooses which frames it loses, doubles and holds back, and keeps account of what came out of it.

    with chosen_path(2, 5000) as path: ...     # path.caller -- tap0 ~~ wire ~~ tap0 in a bridge -- path.hosts

It stands between one caller and hosts on a bridge, and is a thread between two TAP devices. What it does to each
datagram of the port is drawn from a seed; the other frames (IGMP, ARP) pass. The account of what each host answered is
made of the frames that were handed to the caller's kernel, in that order.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.bridged import BRIDGE, bridged
from tests.netns import Namespace, namespaces

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MAX_FRAME = 1 << 16
WAIT_S = 0.2
"""After which the thread looks whether it is to end."""

LOST, TWICE, HELD = 0.03, 0.05, 0.07
"""Of all draws, below which a frame is lost, sent twice, held until the next one has passed."""


@dataclass
class Account:
    """What was handed to the caller of one host's answers."""

    answered: int = 0
    duplicated: int = 0
    reordered: int = 0
    _seen: set[int] = field(default_factory=set)
    _next: int = 0

    def passed(self, number: int) -> None:
        """An answer to datagram `number` came out of the wire."""
        if number in self._seen:
            self.duplicated += 1
            return
        self._seen.add(number)
        self.answered += 1
        self.reordered += number < self._next
        self._next = max(self._next, number + 1)


@dataclass
class Path:
    """The caller, the hosts behind the wire, and the accounts by the hosts' addresses."""

    caller: Namespace
    hosts: tuple[Namespace, ...]
    accounts: dict[str, Account]


class _Way:
    """One direction of the wire."""

    def __init__(self, seed: int, port: int) -> None:
        self._draw = random.Random(seed)
        self._port = port
        self._held: list[bytes] = []

    def passed(self, frame: bytes) -> list[bytes]:
        """What comes out when `frame` goes in."""
        if not _is_of(frame, self._port):
            return [frame]
        held, self._held = self._held, []
        fate = self._draw.random()
        if fate < LOST:
            return held
        if fate < TWICE:
            return [frame, frame, *held]
        if fate < HELD:
            self._held = [frame]
            return held
        return [frame, *held]


def _is_of(frame: bytes, port: int) -> bool:
    """Whether it is UDP over IPv4 without options, to or from the port."""
    return (
        frame[12:15] == b"\x08\x00\x45"
        and frame[23] == socket.IPPROTO_UDP
        and port in struct.unpack_from("!HH", frame, 34)
    )


@contextmanager
def chosen_path(count: int, port: int) -> Iterator[Path]:
    """The path with `count` hosts behind it."""
    with bridged(count) as (hub, *hosts), namespaces(1) as (caller,), ExitStack() as stack:
        ends = []
        for host in (caller, hub):
            ends.append(_tap(host))
            stack.callback(os.close, ends[-1])
            host.ip("link set tap0 txqueuelen 100000 up")
        hub.ip(f"link set tap0 master {BRIDGE}")
        caller.ip("address add 10.66.0.100/24 dev tap0")
        path = Path(caller, tuple(hosts), {host.addresses[0]: Account() for host in hosts})
        ended = threading.Event()
        thread = threading.Thread(target=_carry, args=(ends, path, port, ended), name="choosing wire")
        thread.start()
        try:
            yield path
        finally:
            ended.set()
            thread.join()


def _tap(host: Namespace) -> int:
    with host.inside():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP | IFF_NO_PI))
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _carry(ends: list[int], path: Path, port: int, ended: threading.Event) -> None:
    ways = (_Way(1, port), _Way(2, port))
    with select.epoll() as poll:
        for end in ends:
            poll.register(end, select.EPOLLIN)
        while not ended.is_set():
            poll.poll(WAIT_S)
            for at, end in enumerate(ends):
                with suppress(BlockingIOError):
                    while True:
                        for frame in ways[at].passed(os.read(end, MAX_FRAME)):
                            os.write(ends[1 - at], frame)
                            if at == 1 and _is_of(frame, port):
                                _note(path, frame)


def _note(path: Path, frame: bytes) -> None:
    """Who answered which datagram: its number stands behind the eight bytes of the run (`Payloads`)."""
    account = path.accounts.get(socket.inet_ntoa(frame[26:30]))
    if account is not None:
        account.passed(int.from_bytes(frame[50:54], "big"))
