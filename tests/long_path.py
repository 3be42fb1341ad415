"""A path between two hosts that takes its time: a wire whose two ends are TAP devices, and a thread that carries.

    with long_path(0.02) as hosts:                      # 20 ms there, 20 ms back
        records = hosts.recorded(client, server)

Every frame waits its delay, in order; `lose` says which are dropped halfway. `middle` has what was seen there: the
capture of a tap in the middle of the path.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.netns import Namespace, namespaces
from tests.recorded import Hosts

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
DEVICE = "tap0"
MAX_FRAME = 1 << 16
WAIT_S = 0.5
"""After which the thread looks whether it is to end."""


@dataclass
class LongHosts(Hosts):
    """Two hosts far from each other."""

    middle: list[tuple[int, bytes]] = field(default_factory=list)
    """Time and bytes of each frame that passed halfway."""
    lose: Callable[[bytes], bool] = field(default=lambda frame: False)


def _tap(host: Namespace, address: str) -> int:
    with host.inside():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TAP | IFF_NO_PI))
        except BaseException:
            os.close(descriptor)
            raise
    host.ip(f"address add {address}/24 dev {DEVICE}")
    host.addresses.append(address)
    host.ip(f"link set {DEVICE} txqueuelen 10000 up")
    return descriptor


@contextmanager
def long_path(delay_s: float) -> Iterator[LongHosts]:
    """Two hosts, each way between which takes `delay_s`."""
    with namespaces(2) as (client, server), ExitStack() as stack:
        ends = []
        for host, address in ((client, "10.0.0.1"), (server, "10.0.0.2")):
            ends.append(_tap(host, address))
            stack.callback(os.close, ends[-1])
        hosts = LongHosts(client, server, DEVICE)
        ended = threading.Event()
        thread = threading.Thread(target=_carry, args=(ends, int(delay_s * 1e9), hosts, ended), name="long path")
        thread.start()
        try:
            yield hosts
        finally:
            ended.set()
            thread.join()


def _carry(ends: list[int], delay_ns: int, hosts: LongHosts, ended: threading.Event) -> None:
    on_the_way: deque[tuple[int, int, bytes]] = deque()
    poll = select.epoll()
    with poll:
        for end in ends:
            poll.register(end, select.EPOLLIN)
        while not ended.is_set():
            wait = on_the_way[0][0] / 1e9 - time.time() if on_the_way else WAIT_S
            poll.poll(max(0.0, min(wait, WAIT_S)))
            now = time.time_ns()
            for at, end in enumerate(ends):
                with suppress(BlockingIOError):
                    while True:
                        frame = os.read(end, MAX_FRAME)
                        if not hosts.lose(frame):
                            hosts.middle.append((now + delay_ns // 2, frame))
                            on_the_way.append((now + delay_ns, ends[1 - at], frame))
            while on_the_way and on_the_way[0][0] <= time.time_ns():
                _, end, frame = on_the_way.popleft()
                os.write(end, frame)
