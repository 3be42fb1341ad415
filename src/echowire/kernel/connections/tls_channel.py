"""TLS over a connected socket, as a channel: OpenSSL sees two buffers in memory and never the socket.

The standard library's SSLSocket cannot half-close: its `unwrap` sends `close_notify` and at once reads for the
peer's, and what the peer still had to say is lost ("application data after close notify"). With the buffers
between, `close_notify` is sent while there is nothing to read, and reading goes on (RFC 8446 section 6.1 allows
it; a peer on TLS 1.2 answers by closing, RFC 5246 section 7.2.1).
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from echowire.errors import NoReplyError, OperationError, ProtocolError, UsageError
from echowire.kernel.boundary import operation_error
from echowire.kernel.connections.channel import CHUNK_BYTES, Channel, wait
from echowire.model import Endpoint

RECORD_BYTES = 16 * 1024
"""The most that one TLS record carries (RFC 8446 section 5.1), and so one read of OpenSSL."""


def client_context(*, authorities: str | os.PathLike[str] | None = None, insecure: bool = False) -> ssl.SSLContext:
    """A client's context that checks the peer's certificate and name.

    `authorities` is a PEM file to trust instead of the system's; `insecure` checks nothing. Raises `UsageError`.
    """
    if authorities is not None and insecure:
        raise UsageError("TLS: --tls-ca says what to trust and --tls-insecure to trust anything; give one")
    try:
        context = ssl.create_default_context(cafile=None if authorities is None else os.fspath(Path(authorities)))
    except ssl.SSLError as error:
        raise UsageError(f"TLS authorities {os.fspath(authorities or '')}: not valid PEM") from error
    except OSError as error:
        path = os.fspath(authorities or "")
        raise UsageError(f"TLS authorities {path}: {error.strerror} (errno {error.errno})") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TlsChannel(Channel):
    """A TLS connection, client side; call `handshake` first."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, context: ssl.SSLContext, name: str) -> None:
        super().__init__(sock, endpoint)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = memoryview(b"")
        self._lock = threading.Lock()  # a sender and a receiver share one OpenSSL object
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
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

    def handshake(self, deadline: float | None) -> None:
        """Shake hands. Raises `ProtocolError` with what the peer or OpenSSL objects to, or `NoReplyError`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                with suppress(Exception):
                    self.flush()  # the alert that says why
                raise _protocol_error("TLS handshake with", self.endpoint, error) from error
            else:
                self.flush()
                return
            self.flush()
            if not self._fill() and not wait(self, read=True, write=False, deadline=deadline):
                raise NoReplyError(f"TLS handshake with {self.endpoint}: no answer in time (our timer)")

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
                raise _protocol_error("send", self.endpoint, error) from error
            self._flush()
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
            raise _protocol_error("recv", self.endpoint, error) from error

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
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> None:
        while self._unsent or self._outgoing.pending:
            if not self._unsent:
                self._unsent = memoryview(self._outgoing.read())
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                break
            except OSError as error:
                raise operation_error("send", self.endpoint, error) from error
        self.has_unsent = bool(self._unsent or self._outgoing.pending)


def _protocol_error(doing: str, endpoint: Endpoint, error: ssl.SSLError) -> ProtocolError:
    """OpenSSL's complaint as one line: what it is about, and what to do where that is known."""
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        said = (
            f"{error.verify_message.rstrip('.')}. Name its authority with --tls-ca, or skip the check: --tls-insecure"
        )
        return ProtocolError(f"{doing} {endpoint}: the certificate is not accepted: {said}")
    if reason in (
        "wrong version number",
        "record layer failure",
        "unexpected message",
        "http request",
        "packet length too long",
    ):
        return ProtocolError(f"{doing} {endpoint}: the peer does not speak TLS ({reason})")
    if isinstance(error, ssl.SSLEOFError) or reason == "unexpected eof while reading":
        return ProtocolError(f"{doing} {endpoint}: the peer closed the connection in the middle of it")
    return ProtocolError(f"{doing} {endpoint}: {reason}")
