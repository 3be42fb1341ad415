"""Connections that come in, taken one by one as channels: the other half of `connect.py`.

A server that serves many at once is an engine; this is for whoever wants one connection as a thing in its hands.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any

from echowire.kernel.boundary import operation_error
from echowire.kernel.connections.accept import GONE, keep_urgent_bytes
from echowire.kernel.connections.channel import DATAGRAM_MAX, Channel, DatagramChannel, endpoint_of, seconds_left
from echowire.kernel.connections.connect import channel_of
from echowire.kernel.connections.listen import Listener
from echowire.model import Endpoint


def accept_channel(listeners: Sequence[Listener], deadline: float | None) -> tuple[Channel, Listener] | None:
    """The next connection at any of `listeners`, and at which it came in; None when the deadline has come.

    At a datagram socket that is the sender of the first datagram, which is still to be received.
    """
    poll = select.poll()
    by_descriptor = {listener.socket.fileno(): listener for listener in listeners}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    while ready := poll.poll(seconds_left(deadline, in_ms=True)):
        for descriptor, _ in ready:
            listener = by_descriptor[descriptor]
            if (channel := _taken(listener)) is not None:
                return channel, listener
    return None


def _taken(listener: Listener) -> Channel | None:
    """Whoever waits at `listener`; None where nobody does any more."""
    at = listener.endpoint
    try:
        if not at.is_stream:
            return _from_first_datagram(listener)
        sock, _ = listener.socket.accept()
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in GONE:
            return None
        raise operation_error("accept", at, error) from error
    sock.setblocking(False)
    keep_urgent_bytes(sock)
    return channel_of(sock, at)


def _from_first_datagram(listener: Listener) -> Channel | None:
    _, address = listener.socket.recvfrom(1, socket.MSG_PEEK)
    if not address:  # a Unix socket without a name cannot be answered
        listener.socket.recv(1)
        return None
    sock = listener.socket.dup()
    sock.setblocking(False)
    return SenderChannel(sock, listener.endpoint, address)


class SenderChannel(DatagramChannel):
    """One sender of datagrams at a socket that hears everybody: what others send meanwhile is dropped.

    The socket is not connected, or what comes for the next sender would be lost together with the connection.
    """

    def __init__(self, sock: socket.socket, endpoint: Endpoint, address: Any) -> None:
        super().__init__(sock, endpoint)
        self._address = address
        self.remote = endpoint_of(address, endpoint.transport)

    def receive(self, size: int) -> bytes | None:
        """One datagram of the sender's; None if there is nothing yet."""
        while True:
            try:
                data, address = self.socket.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                return None
            except OSError as error:
                raise operation_error("recv", self.endpoint, error) from error
            if address == self._address:
                return data

    def send(self, data: bytes | memoryview) -> int | None:
        """Send one datagram; None if the socket has no room."""
        try:
            return self.socket.sendto(data, self._address)
        except BlockingIOError:
            return None
        except OSError as error:
            raise operation_error("send", self.endpoint, error) from error

    def close(self) -> None:
        """Close our copy of the descriptor; the socket itself goes on hearing."""
        self.socket.close()
