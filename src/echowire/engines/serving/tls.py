"""A TLS connection in the loop: OpenSSL is given and yields bytes, and never sees the socket.

The handshake, its alerts and the closing `close_notify` (RFC 8446 section 6.1) go through the same queue as the
data, so that backpressure and closing are `ServiceConnection`'s own.
"""

from __future__ import annotations

import ssl

from echowire.engines.serving.connection import ServiceConnection

RECORD_READ_BYTES = 64 * 1024
"""Clear bytes taken from OpenSSL at a time; a record has at most 16 KiB (RFC 8446 section 5.1)."""


HANDSHAKE_S = 10.0
"""Seconds within which the handshake must be done: who connects and says nothing must not hold a connection, also
where no idle time is set. nginx allows 60, HAProxy is told to allow 10."""


class TlsConnection(ServiceConnection):
    """Any service, encrypted. Byte counts are of clear bytes."""

    __slots__ = ("_incoming", "_outgoing", "_shaken", "_tls")

    def open_service(self) -> None:
        """Nothing is said before the peer has sent its client hello; `take_in` opens the service then."""
        context = self.ticket.listener.tls
        assert context is not None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False
        self.host.loop.after(HANDSHAKE_S, self._expect_handshake)

    @property
    def may_send(self) -> bool:
        """Not before the handshake is done."""
        return self._shaken

    def take_in(self) -> None:
        """Read once, decrypt, and answer."""
        size = self.sock.recv_into(self.host.buffer)
        if self._said_goodbye:
            # OpenSSL is not asked again: after our close_notify it takes data that was on its way for a fault.
            if not size:
                self.hear_end()
            return
        if size:
            self._incoming.write(self.host.view[:size])
        else:
            self._incoming.write_eof()
        try:
            self._decrypt()
        except ssl.SSLWantReadError:
            pass
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

    def _decrypt(self) -> None:
        if not self._shaken:
            self._tls.do_handshake()
            self._shaken = True
            super().open_service()
        while True:
            data = self._tls.read(RECORD_READ_BYTES)
            if not data:
                raise ssl.SSLZeroReturnError
            self.received += len(data)
            self.put(self.host.service.answer(data))

    def put(self, data: bytes) -> None:
        """Encrypt `data` and have it sent."""
        if data:
            self._sent += len(data)
            self._tls.write(data)
            self._collect()

    def say_goodbye(self) -> None:
        """Send `close_notify`. The TCP half-close is left to closing: many clients take one for a truncation."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own has not come yet, or will never come
        self._collect()

    def count_sent(self, size: int) -> None:
        """Records are not counted; `put` has counted what is in them."""

    def _collect(self) -> None:
        super().put(self._outgoing.read())

    def _expect_handshake(self) -> None:
        if not self._shaken:
            self.close(f"TLS failed: no handshake within {HANDSHAKE_S:g} s", ok=False)

    def _fail(self, error: ssl.SSLError) -> None:
        """TLS cannot go on: send the alert, if there is one and the peer takes it, and close."""
        self._collect()
        self._flush()
        self.close(f"TLS failed: {tls_reason(error)}", ok=False)


def tls_reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: `http request`, `wrong version number`, `the peer left`."""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "the peer left in the handshake"
    return (error.reason or str(error)).lower().replace("_", " ")
