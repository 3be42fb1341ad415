"""A datagram socket in the loop: each datagram is answered whole, to its sender, from the address it was sent to."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from echowire.engines.connection import Host
from echowire.engines.guard import DatagramGuard
from echowire.kernel.accept import address_text
from echowire.kernel.datagrams import Ancillary, DatagramSocket
from echowire.kernel.listen import Listener
from echowire.kernel.poller import READ
from echowire.model import Limits
from echowire.wire.services import Flow

BATCH = 64
"""Datagrams answered before the loop looks at the other sockets again."""

CLOSING_BATCHES = 256
"""Batches answered at the end: what a full receive buffer holds, not what a flood goes on to send."""

WAITING_MAX = 256
"""Answers that may wait until their peers, or the interface, take them. While so many wait, no datagram is read:
those who send to a Unix socket are then held back by the kernel, and UDP's overflow is counted there."""

RETRY_S = 0.002
"""How soon a waiting answer is tried again. No descriptor tells when a Unix peer's queue has room for a socket that
is not connected to it (unix(7)), so this is the one place where the server looks again by the clock."""

GIVE_UP_S = 1.0
"""How long an answer waits before it is dropped."""


class DatagramPort:
    """One bound datagram socket, its guard, and the answers that wait."""

    def __init__(self, host: Host, listener: Listener, limits: Limits) -> None:
        self._host = host
        self._listener = listener
        self._socket = DatagramSocket(listener)
        self._fd = listener.socket.fileno()
        self._guard = DatagramGuard(listener, limits)
        self._is_echo = host.service.flow is Flow.ECHO
        self._waiting: deque[tuple[float, bytes, Any, Ancillary]] = deque()
        self._paused = False
        host.loop.watch(self._fd, READ, self.on_ready)

    def on_ready(self, mask: int) -> None:
        """Answer what has come, up to a batch."""
        self._serve()

    def _serve(self) -> int:
        """Answer up to a batch; how many came."""
        received = received_bytes = sent = sent_bytes = 0
        answer, receive = self._answer, self._socket.receive
        try:
            for _ in range(BATCH):
                if len(self._waiting) >= WAITING_MAX:
                    self._pause()
                    break
                size, address, ancillary = receive()
                received += 1
                received_bytes += size
                answered = answer(size, address, ancillary)
                if answered >= 0:
                    sent += 1
                    sent_bytes += answered
        except BlockingIOError:
            pass
        except OSError:
            pass  # the error of an earlier answer (an ICMP message, a peer that closed); the next call is free of it
        if received:
            self._host.tally.datagrams(received, received_bytes, sent, sent_bytes)
        return received

    def close(self) -> None:
        """Answer what has already come, and close."""
        for _ in range(CLOSING_BATCHES):
            if not self._serve():
                break
        self._retry()
        self._waiting.clear()
        self._host.loop.unwatch(self._fd)
        self._listener.close()
        self._fd = -1

    def _answer(self, size: int, address: Any, ancillary: Ancillary) -> int:
        """Answer the datagram in the buffer: bytes sent, or -1 for no answer now."""
        if address is None:
            return -1
        if self._guard.needed and (refusal := self._guard.refusal(address, time.monotonic())):
            reason, told = refusal
            self._host.tally.refuse(self._listener, address_text(address), reason, quietly=told)
            return -1
        data: bytes | memoryview | None = self._socket.view[:size]
        if not self._is_echo:
            data = self._host.service.datagram(bytes(self._socket.view[:size]), time.time())
            if data is None:
                return -1
        assert data is not None
        if self._waiting and any(waiting[2] == address for waiting in self._waiting):
            self._wait(bytes(data), address, ancillary)  # behind its elder ones
            return -1
        try:
            return len(data) if self._socket.send(data, address, ancillary) else -1
        except BlockingIOError:
            self._wait(bytes(data), address, ancillary)
            return -1

    def _wait(self, data: bytes, address: Any, ancillary: Ancillary) -> None:
        if not self._waiting:
            self._host.loop.after(RETRY_S, self._retry)
        self._waiting.append((time.monotonic() + GIVE_UP_S, data, address, ancillary))

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._host.loop.rewatch(self._fd, 0)

    def _retry(self) -> None:
        """Try each waiting answer once, in order, but none behind a peer's elder one that still waits."""
        if self._fd < 0:
            return
        now = time.monotonic()
        still: deque[tuple[float, bytes, Any, Ancillary]] = deque()
        full: set[Any] = set()
        for item in self._waiting:
            until, data, address, ancillary = item
            try:
                if address in full:
                    raise BlockingIOError
                if self._socket.send(data, address, ancillary):
                    self._host.tally.datagrams(0, 0, 1, len(data))
            except BlockingIOError:
                full.add(address)
                if until > now:
                    still.append(item)
        self._waiting = still
        if self._paused and len(still) < WAITING_MAX:
            self._paused = False
            self._host.loop.rewatch(self._fd, READ)
        if still:
            self._host.loop.after(RETRY_S, self._retry)
