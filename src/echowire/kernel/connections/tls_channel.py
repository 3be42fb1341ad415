"""TLS over a connected socket, as a channel: OpenSSL sees two buffers in memory and never the socket.

The standard library's SSLSocket cannot half-close: its `unwrap` sends `close_notify` and at once reads for the
peer's, and what the peer still had to say is lost ("application data after close notify"). With the buffers
between, `close_notify` is sent while there is nothing to read, and reading goes on (RFC 8446 section 6.1 allows
it; a peer on TLS 1.2 answers by closing, RFC 5246 section 7.2.1).
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

from echowire.core.certificates import asks_for_certificate, sent_chain
from echowire.errors import NoReplyError, OperationError, ProtocolError, UsageError
from echowire.kernel.boundary import operation_error
from echowire.kernel.connections.channel import CHUNK_BYTES, Channel, wait
from echowire.kernel.connections.tls import TlsClient, reason_of
from echowire.model import Endpoint

RECORD_BYTES = 16 * 1024
"""The most that one TLS record carries (RFC 8446 section 5.1), and so one read of OpenSSL."""

HEARD_BYTES = 64 * 1024
"""Of what the peer sends in the handshake, as much is kept until that is done: more than any chain that is in use."""


class TlsChannel(Channel):
    """A TLS connection; call `handshake` first. It is a client's with a `TlsClient`, a server's with an SSLContext."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, how: TlsClient | ssl.SSLContext) -> None:
        super().__init__(sock, endpoint)
        self._client = how if isinstance(how, TlsClient) else None
        self._heard, self._said = bytearray(), b""
        self._is_shaken = False
        self._failure: ProtocolError | None = None
        self._sent_chain: list[bytes] = []
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = memoryview(b"")
        self._lock = threading.Lock()  # a sender and a receiver share one OpenSSL object
        if isinstance(how, ssl.SSLContext):
            self._tls = how.wrap_bio(self._incoming, self._outgoing, server_side=True)
            return
        name = how.options.named(endpoint.host).tls_name
        try:
            self._tls = how.context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except ValueError as error:
            raise UsageError(f"TLS: '{name}' is no name to verify") from error

    @property
    def version(self) -> str | None:
        """`TLSv1.3`, say."""
        return self._tls.version()

    @property
    def cipher(self) -> str | None:
        """The name of the cipher suite."""
        suite = self._tls.cipher()
        return suite[0] if suite else None

    @property
    def alpn(self) -> str | None:
        """The protocol agreed on (RFC 7301), None for none."""
        return self._tls.selected_alpn_protocol()

    @property
    def chain(self) -> tuple[list[bytes], bool]:
        """The certificates that the peer sent (DER), its own first, and whether these are all that it sent.

        Of TLS 1.3 Python tells the rest only from 3.13 on.
        """
        if chain := self._sent_chain or sent_chain(self._heard):
            return chain, True
        if not self._is_shaken:
            return [], False
        if (ask := getattr(self._tls, "get_unverified_chain", None)) is not None:
            return list(ask()), True
        own = self._tls.getpeercert(binary_form=True)
        return ([own] if own else []), False

    def handshake(self, deadline: float | None) -> None:
        """Shake hands. Raises `ProtocolError` with what the peer or OpenSSL objects to, or `NoReplyError`."""
        while not self.shake():
            if not wait(self, read=True, write=False, deadline=deadline):
                raise self.handshake_silence()

    def shake(self) -> bool:
        """Do what can be done of the handshake now; whether it is done. Raises as `handshake`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                if not self._fill():
                    return False
            except ssl.SSLError as error:
                with suppress(Exception):
                    self.flush()  # the alert that says why
                raise self._protocol_error("TLS handshake with", error) from error
            else:
                self.flush()
                self._is_shaken, self._sent_chain = True, sent_chain(self._heard)
                self._heard, self._said = bytearray(), b""
                return True

    def handshake_silence(self) -> NoReplyError:
        """The error where the time was up before the handshake was done."""
        silent = "" if self._heard else "; a peer that says nothing may not speak TLS"
        return NoReplyError(f"TLS handshake with {self.endpoint}: no answer in time (our timer){silent}")

    def receive(self, size: int) -> bytes | None:
        """Up to `size` clear bytes; empty at the end; None if there is nothing yet."""
        with self._lock:
            if self._aside:
                data = bytes(self._aside[:size])
                del self._aside[:size]
                return data
            while (data_or_none := self._read(size)) is None:
                self.has_more = False
                if not self._fill():
                    self._flush()
                    return None
            self.has_more = bool(data_or_none)
            return data_or_none

    def send(self, data: bytes | memoryview) -> int | None:
        """Encrypt and send; None while the last records still wait for the socket."""
        with self._lock:
            self._flush()
            if self.has_unsent:
                return None
            try:
                size = self._tls.write(data[:CHUNK_BYTES])
            except ssl.SSLError as error:
                raise self._protocol_error("send", error) from error
            try:
                self._flush()
            except OperationError:
                self._hear_alert()
                raise
            return size

    def flush(self) -> None:
        """Send the records that wait."""
        with self._lock:
            self._flush()

    def _set_aside(self) -> bool:
        with self._lock:
            try:
                if not self._fill():
                    return False
                while data := self._read(RECORD_BYTES):
                    self._aside += data
            except (OperationError, ProtocolError):
                return False  # whoever sends or receives next will be told
            self.has_more = bool(self._aside)
            return data is None

    def _hear_alert(self) -> None:
        """The peer has gone: raise what it said last, if that was why. With TLS 1.3 it judges when we are done."""
        with suppress(OperationError):
            while self._fill():
                while data := self._read(RECORD_BYTES):
                    self._aside += data
                if data == b"":
                    return

    def half_close(self) -> None:
        """Send `close_notify`. What has been received and not been read is set aside first; see above."""
        with self._lock:
            while data := self._read(RECORD_BYTES):
                self._aside += data
            self.has_more = bool(self._aside)
            with suppress(ssl.SSLError):  # it wants the peer's, which may come later or never
                self._tls.unwrap()
            self._flush()

    def close(self) -> None:
        """Say `close_notify` if it can be said now, and close."""
        with suppress(Exception):
            self.half_close()
        super().close()

    def _read(self, size: int) -> bytes | None:
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
                self.ended_in_order = False
                return b""
            raise self._protocol_error("recv", error) from error

    def _fill(self) -> bool:
        """Take what the socket has, its end included; False if that is nothing."""
        try:
            data = self.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            raise operation_error("recv", self.endpoint, error) from error
        if data:
            self._incoming.write(data)
            if not self._is_shaken and len(self._heard) < HEARD_BYTES:
                self._heard += data
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> None:
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
                if not self._is_shaken:
                    self._said = self._said or bytes(self._unsent)
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                break
            except OSError as error:
                raise operation_error("send", self.endpoint, error) from error
        self.has_unsent = bool(self._unsent or self._outgoing.pending)

    def _protocol_error(self, doing: str, error: ssl.SSLError) -> ProtocolError:
        """OpenSSL's complaint as one line: what it is about, and what to do where that is known.

        The first one is told again to whoever uses the channel later: OpenSSL then only says that it is closed.
        """
        self._failure = self._failure or self._first_error(doing, error)
        return self._failure

    def _first_error(self, doing: str, error: ssl.SSLError) -> ProtocolError:
        from echowire.core.failures import tls as words  # when there is something to explain

        reason = reason_of(error)
        where = f"{doing} {self.endpoint}"
        if isinstance(error, ssl.SSLCertVerificationError):  # which `secure` explains by a second look
            return ProtocolError(f"{where}: the certificate is not accepted: {error.verify_message}")
        if isinstance(error, ssl.SSLEOFError) or reason in words.ENDED:
            return ProtocolError(f"{where}: the peer closed the connection in the middle of it")
        client = self._client
        if client is None:
            return ProtocolError(f"{where}: {words.handshake_fault(words.Handshake(reason, is_server=True))}")
        failed = words.Handshake(
            reason,
            sent=self._said,
            heard=bytes(self._heard[: words.HEARD_BYTES]),
            offered=client.options.tls_alpn,
            versions=client.versions,
            has_certificate=client.options.tls_certificate is not None,
            was_asked=asks_for_certificate(self._heard),
        )
        return ProtocolError(f"{where}: {words.handshake_fault(failed)}")
