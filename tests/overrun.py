"""How a receive buffer is made to overrun: large segments make TCP promise much, and the smallest use it up."""

from __future__ import annotations

import random
import select
import socket
import threading
import time

from echowire.kernel.connections.window_retraction import Account, account_of
from echowire.testing import PATIENCE_S, Peer

LARGE = random.Random(3).randbytes(64 * 1024)
PIECE = random.Random(4).randbytes(2000)
"""To be written byte by byte."""

TRIES = 5
"""Connections until one has overrun: now and then the window is full first."""


def account(sock: socket.socket) -> Account:
    seen = account_of(sock)
    assert seen is not None
    return seen


def has_room_in_time(sock: socket.socket) -> bool:
    """Whether what is charged to the receive buffer is soon less than its size, though the peer does not read."""
    until = time.monotonic() + PATIENCE_S
    while account(sock).has_overrun and time.monotonic() < until:
        time_passes(0.01)
    return not account(sock).has_overrun


def write(peer: Peer, data: bytes) -> int:
    """How much of `data` a non-blocking peer takes within a moment."""
    while True:
        try:
            return peer.send(data)
        except BlockingIOError:  # also where a part was taken of a record
            if not select.select([], [peer], [], 0.02)[1]:
                return 0


def time_passes(seconds: float) -> None:
    threading.Event().wait(seconds)
