"""A thread a connection: the form that every tutorial teaches, and the one for plain blocking handlers.

Nothing here is clever, and that is its point: `Conversation` (`conversation.py`) is the whole of an echo server. What
surrounds it is what tutorials leave out: limits, time, descriptors that run out, and an end in order.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import CoroutineType, GeneratorType

from echowire.engines.serving.base import Engine, Handler, Job, Report
from echowire.engines.serving.conversation import (
    Conversation,
    TlsConversation,
    UnheardError,
    linger,
    set_time,
    shut_down,
)
from echowire.engines.serving.datagram import BATCH, CLOSING_BATCHES, GIVE_UP_S, RETRY_S, Answerer
from echowire.engines.serving.handshakes import HANDSHAKE_S, UnderWay
from echowire.engines.serving.read_on import Standstills
from echowire.engines.serving.tally import Tally, Ticket
from echowire.engines.serving.tls import tls_reason
from echowire.engines.serving.trials import Answer
from echowire.errors import HandlerError
from echowire.kernel.connections.accept import GONE, NO_ROOM, keep_urgent_bytes, pause_notice, peer_text
from echowire.kernel.connections.accept import RETRY_S as ACCEPT_RETRY_S
from echowire.kernel.connections.listen import Listener
from echowire.kernel.memory import give_back


class Threads(Engine):
    """An acceptor thread a listener, and a thread a connection."""

    name = "threads"

    @classmethod
    def why_not(cls, job: Job) -> str | None:
        """It does everything."""
        return None

    def __init__(self, job: Job, report: Report) -> None:
        self.job = job
        self.tally = Tally(job, report)
        self._open: dict[Ticket, socket.socket] = {}
        self._standstills = Standstills()
        self._changed = threading.Condition()
        self._under_way = UnderWay()
        self._give_back_at = 0
        self._stop_at: float | None = None
        # Its read end becomes readable, for every waiting acceptor and for good, when the server stops.
        self._stopped_out, self._stopped_in = socket.socketpair()
        self._stopped_in.setblocking(False)

    def run(self) -> None:
        """Serve until stopped."""
        listening = [
            threading.Thread(
                target=self._accept if listener.endpoint.is_stream else self._serve_datagrams,
                args=(listener,),
                name=f"echowire {listener.endpoint}",
            )
            for listener in self.job.listeners
        ]
        for thread in listening:
            thread.start()
        for thread in listening:
            thread.join()
        self._drain()
        self._stopped_in.close()
        self._stopped_out.close()
        self.tally.stopped()

    def stop(self, drain_s: float) -> None:
        """Begin to stop; returns at once. A later call can only bring the end nearer."""
        # No lock: it may be a signal handler that interrupted the holder of it.
        at = time.monotonic() + drain_s
        self._stop_at = at if self._stop_at is None else min(at, self._stop_at)
        try:
            self._stopped_in.send(b"!")
        except OSError:
            pass  # it has ended, or was told before

    def _serve_until_stopped(self, listener: Listener, serve_one: Callable[[], bool]) -> None:
        """Call `serve_one` whenever something may wait at `listener`, until we are stopped and it says that none does;
        then close the listener.
        """
        poll = select.poll()
        poll.register(listener.socket, select.POLLIN)
        poll.register(self._stopped_out, select.POLLIN)
        stopped = self._stopped_out.fileno()
        try:
            while True:
                ready = [fd for fd, _ in poll.poll()]
                if not serve_one() and stopped in ready:
                    return
        finally:
            listener.close()

    def _drain(self) -> None:
        """Let the connections finish; cut those that have not when time is up."""
        with self._changed:
            while self._open and (left := (self._stop_at or 0.0) - time.monotonic()) > 0:
                self._changed.wait(min(left, ACCEPT_RETRY_S))
            for sock in self._open.values():
                shut_down(sock, socket.SHUT_RDWR)
            # A handler may be anywhere in its own code; it is given a moment to notice, and then left behind.
            self._changed.wait_for(lambda: not self._open, timeout=ACCEPT_RETRY_S)

    # Streams.

    def _accept(self, listener: Listener) -> None:
        """Accept until stopped, a thread for each; those whom the kernel has told that they are connected, too."""
        self._serve_until_stopped(listener, lambda: self._accept_one(listener))

    def _accept_one(self, listener: Listener) -> bool:
        """Accept one and start its thread; False where none waits."""
        try:
            sock, address = listener.socket.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in NO_ROOM:
                self.tally.notice_once(pause_notice(os.strerror(error.errno)))
                with self._changed:
                    self._changed.wait(ACCEPT_RETRY_S)
                return False
            if error.errno in GONE:
                return True
            raise
        ticket = self.tally.admit(listener, peer_text(sock, address))
        if ticket is None:
            sock.close()
            return True
        sock.setblocking(True)
        with self._changed:
            self._open[ticket] = sock
            self._give_back_at = max(self._give_back_at, len(self._open) // 2)
        thread = threading.Thread(target=self._serve, args=(ticket, sock), name=f"echowire {ticket.peer}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads are to be had
            self._close(ticket, None, "no thread could be started", ok=False)
        return True

    def _serve(self, ticket: Ticket, sock: socket.socket) -> None:
        """One connection, from the handshake to the close."""
        conversation: Conversation | None = None
        reason, ok = "end of input", True
        raised: HandlerError | None = None
        try:
            if self.job.handler is not None:
                self._handle(ticket, sock, self.job.handler)
                reason = "the handler returned"
            else:
                conversation = self._conversation(ticket, sock)
                reason = conversation.converse()
        except HandlerError as error:
            reason, ok, raised = str(error), False, error
        except ssl.SSLError as error:
            reason, ok = f"TLS failed: {tls_reason(error)}", False
        except UnheardError as error:
            reason, ok = str(error), False
        except (BlockingIOError, TimeoutError):
            reason, ok = f"idle for {self.job.limits.idle_s or HANDSHAKE_S:g} s", True
        except (ConnectionResetError, BrokenPipeError):
            reason, ok = "reset by the peer", False
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "error")
            reason, ok = f"{error.strerror} ({name} {error.errno})", False
        except Exception as error:
            reason, ok = f"internal error: {type(error).__name__}: {error}", False
        finally:
            if self._is_cut_off and raised is None:
                reason = "the server stopped"
            self._close(ticket, conversation, reason, ok=ok, error=raised)

    @property
    def _is_cut_off(self) -> bool:
        """Whether the server has stopped, and the time that connections had to end is over."""
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _conversation(self, ticket: Ticket, sock: socket.socket) -> Conversation:
        keep_urgent_bytes(sock)
        service, idle_s, tls = self.job.service, self.job.limits.idle_s, ticket.listener.tls
        if tls is not None:
            conversation: Conversation = TlsConversation(sock, service, self._standstills, idle_s, tls, self._under_way)
        else:
            conversation = Conversation(sock, service, self._standstills, idle_s)
        if self.tally.shows:
            conversation.show = partial(self.tally.passed, ticket)
        return conversation

    def _handle(self, ticket: Ticket, sock: socket.socket, handler: Handler) -> None:
        """Give the socket to a handler, which may read and write as it likes."""
        idle_s = self.job.limits.idle_s
        if idle_s is not None:
            set_time(sock, socket.SO_RCVTIMEO, idle_s)
            set_time(sock, socket.SO_SNDTIMEO, idle_s)
        if ticket.listener.tls is not None:
            sock = self._shake_hands(ticket, sock)
        self._call(handler, sock)
        linger(sock)

    def _call(self, handler: Handler, sock: socket.socket) -> None:
        """Have a handler serve the connection. Raises `HandlerError` with what it raised, unless that only says that
        the connection has ended: by the peer, by the idle time, or because the server stops.
        """
        try:
            answer = handler(sock)
            if isinstance(answer, CoroutineType | GeneratorType):
                answer.close()
                raise TypeError(f"it returned a {type(answer).__name__} and has done nothing; give a blocking function")
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
            raise
        except BaseException as error:  # whatever it is, it ends in this thread
            if isinstance(error, BlockingIOError | TimeoutError) and self.job.limits.idle_s is not None:
                raise
            if isinstance(error, OSError) and self._is_cut_off:
                raise
            raise HandlerError(f"the handler raised {type(error).__name__}: {error}") from error

    def _close(
        self, ticket: Ticket, done: Conversation | None, reason: str, *, ok: bool, error: HandlerError | None = None
    ) -> None:
        self._open[ticket].close()
        received, sent = 0, 0
        if done is not None:
            self._standstills.leave(done)
            received, sent = done.received, done.sent
        self.tally.release(ticket, received, sent, reason, ok=ok, error=error)
        with self._changed:
            del self._open[ticket]
            have_halved = len(self._open) <= self._give_back_at
            if have_halved:
                self._give_back_at = len(self._open) // 2
            self._changed.notify_all()
        if have_halved and ticket.listener.tls is not None:
            give_back()

    def _shake_hands(self, ticket: Ticket, sock: socket.socket) -> ssl.SSLSocket:
        assert ticket.listener.tls is not None
        sock.settimeout(min(self.job.limits.idle_s or HANDSHAKE_S, HANDSHAKE_S))
        if not sock.recv(1, socket.MSG_PEEK):  # who says nothing has no memory of OpenSSL's either
            raise ssl.SSLEOFError
        secure = ticket.listener.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._changed:
            self._open[ticket] = secure
        self._under_way.begin(ticket, partial(shut_down, secure, socket.SHUT_RDWR))
        try:
            secure.do_handshake()
        finally:
            self._under_way.end(ticket)
        secure.settimeout(self.job.limits.idle_s)
        return secure

    # Datagrams.

    def _serve_datagrams(self, listener: Listener) -> None:
        """Answer datagrams until stopped; those that have come by then are still answered."""
        poll = select.poll()
        answerer = Answerer(
            listener, self.job.service, self.job.limits, self.tally, opened=poll.register, closing=poll.unregister
        )
        poll.register(listener.socket, select.POLLIN)
        poll.register(self._stopped_out, select.POLLIN)
        stopped = self._stopped_out.fileno()
        trials = answerer.trials
        left = BATCH * CLOSING_BATCHES
        try:
            while True:
                wait = trials.wait_s()
                ready = [fd for fd, _ in poll.poll(None if wait is None else math.ceil(wait * 1000))]
                if wait is not None:
                    _send_all(answerer, trials.settle())
                is_answered = self._answer(answerer)
                if stopped in ready:
                    left -= 1
                    if not is_answered or not left:
                        return
        finally:
            _send_all(answerer, trials.close())
            listener.close()

    def _answer(self, answerer: Answerer) -> bool:
        """Answer one arrival; False where none waits."""
        try:
            arrival = answerer.port.receive()
        except BlockingIOError:
            return False
        except OSError:
            return True  # the error of an earlier answer; the next call is free of it
        answer = answerer.answer(arrival)
        went = _send_patiently(answerer, answer) if answer is not None else 0
        sent_bytes = min(went * answer.segment, len(answer.data)) if answer is not None else 0
        self.tally.datagrams(arrival.datagrams, arrival.size, went, sent_bytes)
        return True


def _send_patiently(answerer: Answerer, answer: Answer) -> int:
    """Send an answer, waiting for a peer or an interface that has no room; how many datagrams went."""
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        try:
            return answerer.send(*answer)
        except BlockingIOError:
            # A Unix peer's full queue is not something one can wait for on a socket not connected to it.
            select.select([], [], [], RETRY_S)
    return 0


def _send_all(answerer: Answerer, answers: Iterable[Answer]) -> None:
    """Send what trials kept back, and have counted."""
    for answer in answers:
        _send_patiently(answerer, answer)
