"""The trial that tells a server from a client: an answer goes out by a second port, and one sees who answers there.

Of a peer that `loops.py` suspects, one answer is sent not from the port that was asked but from another one, at the
same address. Then

- a server answers it, there: it is known for what it is, and barred. The datagram has left the loop, too;
- a client whose socket is connected never sees it: its kernel says so (ICMP port unreachable; EPERM on a Unix socket),
  and the answer is sent again, from the port that was asked. On the same host that takes some microseconds;
- a client whose socket is not connected takes it for the answer that it is, if it does not look where that is from;
- where nothing is heard, a firewall was in the way, or the client did look: after a tenth of a second the answer is
  sent again as if nothing had been. A client gets it late, or twice, as datagrams may be; it loses none.

So no client loses anything, and none is sent a byte that it did not ask for. That rules out the two experiments that
come to mind first: to drop an answer and see whether the other goes on, and to ask a question of one's own. A third,
to send answers with a time to live that is one less than the question's, as routers do against loops, ends loops
between our own servers alone, since other servers begin anew with 64.

Behind a firewall that lets nothing through to the second port a server is not told from a client. If a peer has been
silent in two trials, one answer of the third is dropped: a loop has then ended, after some hundred thousand of its
datagrams; of a client behind such a firewall, that sends the same message over and over, one in as many is lost.

The second port is there only while trials last, so that its number cannot be learned and used to have others barred.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from echowire.engines.serving.loops import LoopWatch
from echowire.engines.serving.tally import Tally
from echowire.kernel.connections import icmp_errors
from echowire.kernel.connections.accept import address_text
from echowire.kernel.connections.datagrams import Ancillary
from echowire.kernel.connections.listen import Listener

TRIALS_MAX = 64
"""Trials at once: each holds one answer, at most 64 KiB. Who finds no room is suspected again before long."""

RESEND_S = 0.1
"""How long an answer that nobody refused waits, until it is sent again from the port that was asked: ten times a round
trip within a site, and less than what a client allows a lost datagram."""

TRIAL_S = 1.0
"""How long an answer to the answer is waited for: longer than the round trip of any loop that is worth ending soon."""

READS_A_LOOK = 256
"""Datagrams and errors taken from the second port at a time."""


class Answer(NamedTuple):
    """What is to be sent, as `DatagramSocket.send` takes it."""

    data: bytes | memoryview
    address: Any
    ancillary: Ancillary
    segment: int


@dataclass(slots=True)
class _Trial:
    """One that lasts. `answer` is None once it was sent again."""

    answer: Answer | None
    resend_at: float
    ends_at: float


class Trials:
    """The trials at one datagram socket, and their port.

    `opened` and `closing` are called with the second port's descriptor, for whoever waits on it; `settle` is to be
    called when it is ready, and after `wait_s`."""

    def __init__(
        self,
        listener: Listener,
        watch: LoopWatch,
        tally: Tally,
        opened: Callable[[int], None],
        closing: Callable[[int], None],
    ) -> None:
        self._listener = listener
        self._watch = watch
        self._tally = tally
        self._opened = opened
        self._closing = closing
        self._trials: dict[Any, _Trial] = {}
        self._released: list[Answer] = []
        self._port: socket.socket | None = None

    def try_out(self, answer: Answer) -> Answer | None:
        """Try the peer of `answer`, of a burst with its first datagram; gives what is to be sent as ever."""
        address, segment = answer.address, answer.segment
        if address in self._trials:
            return answer
        if len(self._trials) >= TRIALS_MAX or not self._open():
            self._watch.put_off(address)
            return answer
        first = answer._replace(data=bytes(answer.data[:segment]))
        rest = answer._replace(data=answer.data[segment:]) if len(answer.data) > segment else None
        if self._watch.begin_trial(address):
            self._tally.refuse(self._listener, address_text(address), "it never pauses and cannot be tried")
            self._close_if_idle()
            return rest
        try:
            went = self._send(first)
        except PermissionError:
            # A Unix socket that is connected to the first port takes nothing from others (unix(7)).
            self._watch.conclude(address, is_client=True)
            self._close_if_idle()
            return answer
        if not went:
            self._watch.put_off(address)
            self._close_if_idle()
            return answer
        now = time.monotonic()
        self._trials[address] = _Trial(first, now + RESEND_S, now + TRIAL_S)
        self._read_errors()  # on the same host the refusal is there already
        if address not in self._trials:
            self._released = [other for other in self._released if other is not first]
            self._close_if_idle()
            return answer
        self._tally.datagrams(0, 0, 1, len(first.data))
        return rest

    def settle(self) -> list[Answer]:
        """See what the second port has heard and whose time is up: gives the answers that are to be sent after all."""
        if self._port is not None:
            self._read_errors()
            self._read_answers()
        now = time.monotonic()
        for address, trial in list(self._trials.items()):
            if now >= trial.resend_at:
                self._release(trial)
            if now >= trial.ends_at:
                self._end(address, is_client=False)
        return self._take_released()

    def wait_s(self) -> float | None:
        """Seconds until `settle` is to be called; None while there are no trials."""
        if self._released:
            return 0.0
        if not self._trials:
            return None
        due = min(trial.ends_at if trial.answer is None else trial.resend_at for trial in self._trials.values())
        return max(0.0, due - time.monotonic())

    def close(self) -> list[Answer]:
        """End all trials: gives the answers that are kept back."""
        for trial in self._trials.values():
            self._release(trial)
        self._trials.clear()
        return self._take_released()

    def _take_released(self) -> list[Answer]:
        released, self._released = self._released, []
        self._close_if_idle()
        return released

    def _release(self, trial: _Trial) -> None:
        if trial.answer is not None:
            self._released.append(trial.answer)
            trial.answer = None

    def _end(self, address: Any, *, is_client: bool) -> None:
        self._release(self._trials.pop(address))
        self._watch.conclude(address, is_client=is_client)

    def _open(self) -> bool:
        """Open the second port, at the address of the first; False where there is no room for it."""
        if self._port is not None:
            return True
        first = self._listener.socket
        try:
            port = socket.socket(first.family, socket.SOCK_DGRAM)
        except OSError:
            return False
        try:
            port.setblocking(False)
            if first.family == socket.AF_UNIX:
                port.bind("")  # the kernel chooses an abstract name (unix(7))
            else:
                if first.family == socket.AF_INET6:
                    both = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                    port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, both)
                host, _, *scope = first.getsockname()
                port.bind((host, 0, *scope))
                icmp_errors.enable(port)
        except OSError:
            port.close()
            return False
        self._port = port
        self._opened(port.fileno())
        return True

    def _close_if_idle(self) -> None:
        if self._port is not None and not self._trials:
            self._closing(self._port.fileno())
            self._port.close()
            self._port = None

    def _send(self, answer: Answer) -> bool:
        """Send by the second port; whether it went. Raises `PermissionError` where it may not."""
        assert self._port is not None
        for _ in range(2):
            try:
                self._port.sendmsg([answer.data], answer.ancillary, 0, answer.address)
            except PermissionError:
                raise
            except OSError as error:
                if error.errno != errno.ECONNREFUSED:
                    return False
                # An earlier answer's error, which the error queue tells of, too. The next call is free of it.
            else:
                return True
        return False

    def _read_errors(self) -> None:
        """End the trials of those whom the answer did not reach."""
        if self._port is None or self._port.family == socket.AF_UNIX:
            return  # a Unix socket has no error queue, and would give its datagrams in its stead
        for address, is_client in icmp_errors.take_refusals(self._port, READS_A_LOOK):
            if address in self._trials:
                self._end(address, is_client=is_client)

    def _read_answers(self) -> None:
        """Bar those who answer the answer."""
        assert self._port is not None
        for _ in range(READS_A_LOOK):
            try:
                address = self._port.recvfrom(0)[1]
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier answer's error
            if address in self._trials:
                del self._trials[address]
                self._watch.bar(address)
                self._tally.refuse(self._listener, address_text(address), "it answers answers, as servers do")
