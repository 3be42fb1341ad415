"""A TLS connection in the loop: OpenSSL is given and yields bytes, and never sees the socket.

The handshake, its alerts and the closing `close_notify` (RFC 8446 section 6.1) go through the same queue as the
data, so that backpressure and closing are `ServiceConnection`'s own.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial

from echowire.engines.serving import handshakes
from echowire.engines.serving.connection import Host, ServiceConnection
from echowire.engines.serving.handshakes import Handshakes
from echowire.engines.serving.tally import Ticket
from echowire.kernel.connections.tls import reason_of

RECORD_READ_BYTES = 64 * 1024
"""Clear bytes taken from OpenSSL at a time; a record has at most 16 KiB (RFC 8446 section 5.1)."""

READ_BYTES = 64 * 1024
"""Bytes taken from the socket at a time. Plain echoes read more, and encrypting takes longer than the system call."""

PIECE_BYTES = 16 * 1024
"""What is given to OpenSSL at a time, about a record. Its buffers grow to the largest piece and never shrink."""


LEFT = "the peer left in the handshake"


class TlsConnection(ServiceConnection):
    """Any service, encrypted. Byte counts are of clear bytes."""

    __slots__ = ("_handshakes", "_incoming", "_outgoing", "_shaken", "_tls")

    def __init__(self, host: Host, budget: Handshakes, sock: socket.socket, ticket: Ticket) -> None:
        super().__init__(host, sock, ticket)
        self._handshakes = budget
        self._tls: ssl.SSLObject | None = None
        self._shaken = False

    def open_service(self) -> None:
        """Nothing is said before the peer has sent its client hello; `take_in` opens the service then."""
        self._handshakes.expect(self, self._give_up)

    def close(self, reason: str, *, ok: bool = True) -> None:
        """Close the socket and account for it; once."""
        if self.fd >= 0:
            self._handshakes.done(self)
            self._handshakes.ended()
        super().close(reason, ok=ok)

    @property
    def may_send(self) -> bool:
        """Not before the handshake is done."""
        return self._shaken

    def take_in(self) -> None:
        """Read once, decrypt, and answer. The socket stays ready where a handshake has to wait for the next round."""
        if self._shaken:
            self._read()
        else:
            self._handshakes.step(self._read)

    def _read(self) -> None:
        size = self.sock.recv_into(self.host.buffer, min(READ_BYTES, len(self.host.buffer)))
        if self._said_goodbye:
            # OpenSSL is not asked again: after our close_notify it takes data that was on its way for a fault.
            if not size:
                self.hear_end()
            return
        if not size and self._tls is None:
            self.close(f"TLS failed: {LEFT}", ok=False)
            return
        tls = self._tls or self._begin_handshake()
        try:
            for start in range(0, size, PIECE_BYTES):
                self._incoming.write(self.host.buffer[start : min(start + PIECE_BYTES, size)])
                self._decrypt(tls)
            if not size:
                self._incoming.write_eof()
                self._decrypt(tls)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
            if not self._shaken:
                self._fail(error)
                return
            # With close_notify or without: many clients just close. What had come has been answered.
            self.hear_end()
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._collect()

    def _begin_handshake(self) -> ssl.SSLObject:
        context = self.ticket.listener.tls
        assert context is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        reason = f"TLS failed: more than {handshakes.UNDER_WAY_MAX} handshakes under way, and this was the eldest"
        self._handshakes.under_way.begin(self, partial(self.close, reason, ok=False))
        return self._tls

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        """Take what OpenSSL has, until it wants more."""
        try:
            if not self._shaken:
                tls.do_handshake()
                self._shaken = True
                self._handshakes.done(self)
                super().open_service()
            while data := tls.read(RECORD_READ_BYTES):
                self.received += len(data)
                self.host.tally.passed(self.ticket, "received", data)
                self.put(self.host.service.answer(data))
        except ssl.SSLWantReadError:
            return
        raise ssl.SSLZeroReturnError

    def put(self, data: bytes) -> None:
        """Encrypt `data` and have it sent."""
        if data:
            assert self._tls is not None
            self._sent += len(data)
            self.host.tally.passed(self.ticket, "sent", data)
            self._tls.write(data)
            self._collect()

    def say_goodbye(self) -> None:
        """Send `close_notify`. The TCP half-close is left to closing: many clients take one for a truncation."""
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own has not come yet, or will never come
        self._collect()

    def count_sent(self, data: memoryview) -> None:
        """Records are not counted; `put` has counted what is in them."""

    def _collect(self) -> None:
        super().put(self._outgoing.read())

    def _give_up(self) -> None:
        self.close(f"TLS failed: no handshake within {handshakes.HANDSHAKE_S:g} s", ok=False)

    def _fail(self, error: ssl.SSLError) -> None:
        """TLS cannot go on: send the alert, if there is one and the peer takes it, and close."""
        self._collect()
        self._flush()
        self.close(f"TLS failed: {tls_reason(error)}", ok=False)


def tls_reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: `http request`, `wrong version number`, `the peer left`."""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return LEFT
    reason = reason_of(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message.rstrip('.')}"
    from echowire.core.failures.tls import Handshake, handshake_fault  # when there is something to explain

    return handshake_fault(Handshake(reason, is_server=True))
