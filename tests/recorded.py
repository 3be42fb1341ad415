"""TCP conversations between two hosts, recorded as they happen: two ends, a link between them, and what was on it.

    with two_hosts() as hosts:
        packets = hosts.recorded(client, server)

`client` and `server` are functions of a connected socket, each run in its own thread. What passed the client's device
(or the server's) is recorded by a raw socket of the kernel, with the kernel's times.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from echowire.core.captures.records import Interface, Records
from tests.netns import Namespace, link, namespaces

ETH_P_ALL = 3  # linux/if_ether.h
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER = 256 * 1024 * 1024
SILENCE_S = 0.1
"""After the ends have closed, nothing more comes once nothing came for so long."""

Talk = Callable[[socket.socket], None]


def pause(seconds: float) -> None:
    """Let time pass: in these conversations a wait is what is recorded."""
    threading.Event().wait(seconds)


@dataclass
class Hosts:
    """A client's host and a server's."""

    client: Namespace
    server: Namespace
    device: str

    @contextmanager
    def recording(self, at: Namespace | None = None) -> Iterator[list[tuple[int, bytes]]]:
        """Time and bytes of each packet that passes, in the list once the block has ended."""
        packets: list[tuple[int, bytes]] = []
        raw = (at or self.client).socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        with raw:
            raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            raw.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            raw.bind((self.device, ETH_P_ALL))
            raw.settimeout(SILENCE_S)
            yield packets
            while True:
                try:
                    data, control, _, _ = raw.recvmsg(1 << 17, 64)
                except TimeoutError:
                    break
                seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
                packets.append((seconds * 10**9 + nanoseconds, data))

    def recorded(
        self, client: Talk, server: Talk, *, at: Namespace | None = None, prepare: Talk | None = None
    ) -> Records:
        """The packets of one conversation. `prepare` is given the listening socket before anybody connects."""
        return self.recorded_at([at or self.client], client, server, prepare=prepare)[0]

    def recorded_at(
        self, places: Sequence[Namespace], client: Talk, server: Talk, *, prepare: Talk | None = None
    ) -> list[Records]:
        """The packets of one conversation, as they passed the device of each of `places`."""
        failures: list[BaseException] = []
        with self.server.socket() as listener, self.client.socket() as socket_:
            if prepare:
                prepare(listener)
            listener.bind((self.server.addresses[0], 0))
            listener.listen(1)
            listener.settimeout(10)
            socket_.settimeout(10)
            with ExitStack() as stack:
                captured = [stack.enter_context(self.recording(place)) for place in places]

                def serve() -> None:
                    try:
                        connection, _ = listener.accept()
                        with connection:
                            connection.settimeout(10)
                            server(connection)
                    except BaseException as error:  # a skip is one too
                        failures.append(error)

                thread = threading.Thread(target=serve)
                thread.start()
                try:
                    socket_.connect(listener.getsockname())
                    client(socket_)
                    socket_.close()
                except BaseException as error:
                    failures.append(error)
                thread.join()
        if failures:
            raise failures[0]  # the other end's is what came of it
        return [records_of(packets) for packets in captured]


def records_of(packets: Sequence[tuple[int, bytes]]) -> Records:
    """Packets with their times as a capture has them."""
    packets = sorted(packets, key=lambda one: one[0])
    return Records.of(
        [data for _, data in packets], [time for time, _ in packets], interfaces=[Interface(1, resolution=9)]
    )


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Two hosts, joined by a link."""
    with namespaces(2) as (client, server):
        device, _ = link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        yield Hosts(client, server, device)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the peer has shut down."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)
