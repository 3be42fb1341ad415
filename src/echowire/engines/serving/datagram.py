"""Datagrams: each is answered whole, to its sender, from the address it was sent to.

`Answerer` decides what is answered, for every engine: within the limits (`guard.py`), never to a server that would
answer the answer (`loops.py`, `trials.py`), and beyond loopback, unless it was asked for, never with more than came.
`DatagramPort` is a datagram socket in the loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from random import getrandbits
from typing import Any

from echowire.core.services import Flow, Service
from echowire.engines.serving.connection import Host
from echowire.engines.serving.guard import DatagramGuard
from echowire.engines.serving.loops import LoopWatch, Standing
from echowire.engines.serving.tally import Tally
from echowire.engines.serving.trials import RESEND_S, Answer, Trials
from echowire.kernel.connections.accept import address_text
from echowire.kernel.connections.datagrams import Ancillary, Arrival, DatagramSocket
from echowire.kernel.connections.listen import Listener
from echowire.kernel.connections.poller import READ
from echowire.model import Direction, Limits, is_loopback

BATCH = 64
"""Arrivals answered before the loop looks at the other sockets again."""

LOOK_BITS = 4
"""Up to 15 arrivals pass between two that are looked at for loops: to look costs a tenth of answering.
How many is drawn, so that nobody can send what is never looked at. While a peer is barred each arrival is looked
at."""

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


class Answerer:
    """What a service answers to what arrives at one socket, within the limits; it keeps the counts.

    `opened` and `closing` are told of the descriptor of the second port, which trials have; see there.
    """

    def __init__(
        self,
        listener: Listener,
        service: Service,
        limits: Limits,
        tally: Tally,
        opened: Callable[[int], None],
        closing: Callable[[int], None],
    ) -> None:
        self._listener = listener
        self._service = service
        self._tally = tally
        self._guard = DatagramGuard(listener, limits)
        self._may_amplify = limits.amplify
        self._is_echo = service.flow is Flow.ECHO
        self._is_plain = self._is_echo and not self._guard.needed
        # Only where each datagram of a burst is answered by itself, or none is, may they be taken together.
        self.port = DatagramSocket(
            listener, in_bursts=service.flow in (Flow.ECHO, Flow.SINK), stamped=service.reflector is not None
        )
        self.send: Callable[..., int] = self._send_shown if tally.shows else self.port.send
        """Sends an answer, as `DatagramSocket.send` does."""
        self._reflector = None if service.reflector is None else service.reflector()
        # Texts differ from one answer to the next; a reflector finds its own kind by itself, and a trial of each of its
        # senders would be measured by them.
        by_content = self._is_echo or service.reflector is not None
        self._watch = LoopWatch(listener.is_own, time.monotonic, by_content=by_content)
        self.trials = Trials(listener, self._watch, tally, opened, closing)
        # What answers our answers sends to this host's own address, of which a socket that is bound to a group's hears
        # nothing: there can be no loop. And a trial's second port would look like another member to who counts them.
        self._may_loop = not listener.endpoint.is_group
        self._unlooked = 0

    def answer(self, arrival: Arrival) -> Answer | None:
        """The answer to `arrival`, which is in the port's buffer; an echo's shares that buffer. None for none."""
        size, address, ancillary, segment, count = arrival
        if self._tally.shows:
            self._show(address, "received", self.port.view[:size], segment)
        if address is None:
            return None
        if not self._may_loop:
            return self._answer(arrival)
        if self._unlooked:
            self._unlooked -= 1
            if self._is_plain:
                return Answer(self.port.view[:size], address, ancillary, segment)
            return self._answer(arrival)
        standing = self._watch.note(address, self.port.buffer, segment)
        if not self._watch.barred or not self._watch.is_barring():
            self._unlooked = getrandbits(LOOK_BITS)
        if standing >= Standing.BARRED:
            self._refuse(address, "it claims to come from this socket", count, quietly=standing is Standing.BARRED)
            return None
        answer = self._answer(arrival)
        return answer if answer is None or standing is Standing.FREE else self.trials.try_out(answer)

    def _answer(self, arrival: Arrival) -> Answer | None:
        """The answer within the limits."""
        size, address, ancillary, segment, count = arrival
        if self._guard.needed:
            allowed, reason, told = self._guard.allow(address, count, time.monotonic())
            if allowed < count:
                self._refuse(address, reason, count - allowed, quietly=told)
                if not allowed:
                    return None
                size = allowed * segment
        if self._is_echo:
            answer = Answer(self.port.view[:size], address, ancillary, segment)
        else:
            data = self._serve(size, address)
            if data is None:
                return None
            answer = Answer(data, address, ancillary, len(data))
        if self._guard.needed:
            self._guard.charge(address, len(answer.data))
        return answer

    def _serve(self, size: int, address: Any) -> bytes | None:
        """What the service answers to the datagram of `size` bytes in the buffer; None for nothing."""
        question = bytes(self.port.view[:size])
        if self._reflector is not None:
            data = self._reflector.answer(question, address, self.port.hops, self.port.received_ns, time.time_ns())
        else:
            data = self._service.datagram(question, time.time())
        if data is None:
            return None
        if len(data) > size and self._guard.needed and not self._may_amplify and not is_loopback(address[0]):
            if not self._service.is_text or not size:
                reason = f"an answer would be larger than the question of {size} bytes; --amplify allows that"
                self._refuse(address, reason, 1, quietly=self._guard.tell(address, time.monotonic()))
                return None
            data = data[:size]
        return data

    def _send_shown(self, data: bytes | memoryview, address: Any, ancillary: Ancillary, segment: int) -> int:
        went = self.port.send(data, address, ancillary, segment)
        if went:
            self._show(address, "sent", data[: went * segment] if segment else data, segment)
        return went

    def _show(self, address: Any, direction: Direction, data: bytes | memoryview, segment: int) -> None:
        self._tally.datagrams_passed(self._listener, address_text(address), direction, data, segment)

    def _refuse(self, address: Any, reason: str, count: int, *, quietly: bool) -> None:
        self._tally.refuse(self._listener, address_text(address), reason, count=count, quietly=quietly)


class DatagramPort:
    """One bound datagram socket in the loop, and the answers that wait."""

    def __init__(self, host: Host, listener: Listener, limits: Limits) -> None:
        self._host = host
        self._listener = listener
        self._answerer = Answerer(listener, host.service, limits, host.tally, self._watch_trials, host.loop.unwatch)
        self._socket = self._answerer.port
        self._fd = listener.socket.fileno()
        self._waiting: deque[tuple[float, Answer]] = deque()
        self._paused = False
        host.loop.watch(self._fd, READ, self.on_ready)

    def on_ready(self, mask: int) -> None:
        """Answer what has come, up to a batch."""
        self._serve()

    def close(self) -> None:
        """Answer what has already come, and close."""
        for _ in range(CLOSING_BATCHES):
            if not self._serve():
                break
        for answer in self._answerer.trials.close():
            self._send_late(answer)
        self._retry()
        self._waiting.clear()
        self._host.loop.unwatch(self._fd)
        self._listener.close()
        self._fd = -1

    def _watch_trials(self, fd: int) -> None:
        """The second port is open: look at it when something comes, and when it is time."""
        self._host.loop.watch(fd, READ, lambda mask: self._settle())
        self._host.loop.after(RESEND_S, self._settle_in_time)

    def _settle(self) -> None:
        for answer in self._answerer.trials.settle():
            self._send_late(answer)

    def _settle_in_time(self) -> None:
        self._settle()
        if self._fd >= 0 and (wait := self._answerer.trials.wait_s()) is not None:
            self._host.loop.after(max(wait, RETRY_S), self._settle_in_time)

    def _send_late(self, answer: Answer) -> None:
        """Send what a trial kept back, and has counted."""
        try:
            self._answerer.send(*answer)
        except BlockingIOError:
            self._wait(answer)

    def _serve(self) -> int:
        """Answer up to a batch; how many came."""
        received = received_bytes = sent = sent_bytes = 0
        receive, answer_to, send = self._socket.receive, self._answerer.answer, self._answerer.send
        try:
            for _ in range(BATCH):
                if len(self._waiting) >= WAITING_MAX:
                    self._pause()
                    break
                arrival = receive()
                received += arrival.datagrams
                received_bytes += arrival.size
                answer = answer_to(arrival)
                if answer is None:
                    continue
                if self._waiting and any(elder.address == answer.address for _, elder in self._waiting):
                    self._wait(answer)
                    continue
                try:
                    went = send(*answer)
                except BlockingIOError:
                    self._wait(answer)
                    continue
                sent += went
                sent_bytes += min(went * answer.segment, len(answer.data))
        except BlockingIOError:
            pass
        except OSError:
            pass  # the error of an earlier answer (an ICMP message, a peer that closed); the next call is free of it
        if received:
            self._host.tally.datagrams(received, received_bytes, sent, sent_bytes)
        return received

    def _wait(self, answer: Answer) -> None:
        if not self._waiting:
            self._host.loop.after(RETRY_S, self._retry)
        # The buffer it is in is about to be used again.
        self._waiting.append((time.monotonic() + GIVE_UP_S, answer._replace(data=bytes(answer.data))))

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._host.loop.rewatch(self._fd, 0)

    def _retry(self) -> None:
        """Try each waiting answer once, in order, but none behind a peer's elder one that still waits."""
        if self._fd < 0:
            return
        now = time.monotonic()
        still: deque[tuple[float, Answer]] = deque()
        full: set[Any] = set()
        for until, answer in self._waiting:
            try:
                if answer.address in full:
                    raise BlockingIOError
                went = self._answerer.send(*answer)
                self._host.tally.datagrams(0, 0, went, min(went * answer.segment, len(answer.data)))
            except BlockingIOError:
                full.add(answer.address)
                if until > now:
                    still.append((until, answer))
        self._waiting = still
        if self._paused and len(still) < WAITING_MAX:
            self._paused = False
            self._host.loop.rewatch(self._fd, READ)
        if still:
            self._host.loop.after(RETRY_S, self._retry)
