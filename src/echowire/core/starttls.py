"""STARTTLS: what a client says, and must hear, before the TLS handshake in a protocol that begins in the clear. Pure.

    smtp      RFC 3207     greeting, EHLO, STARTTLS, 220
    imap      RFC 9051     greeting, STARTTLS, OK
    pop3      RFC 2595     greeting, STLS, +OK
    ftp       RFC 4217     greeting, AUTH TLS, 234
    postgres  its manual, "Message Flow": SSLRequest, one byte

Bytes in, bytes out: `Negotiation` is given what came and gives what to send. What comes behind the agreement, and still
in the clear, is no part of TLS, and whoever takes it for that can be told anything by who stands between
(CVE-2011-0411): it ends the negotiation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from echowire.core.text import printable

LINE_BYTES = 8 * 1024
"""The longest line of a server: RFC 5321 allows 512 bytes, IMAP's capabilities are longer, and nothing needs this."""

LINES = 100
"""The most lines of one answer; a greeting in FTP may be a page."""

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
"""PostgreSQL's: its length, and 1234 and 5679 where a startup packet has its version."""

Steps = Generator[bytes | None, bytes, None]
"""What to send, None for nothing; it is sent the next line, or the next byte."""


class RefusedError(Exception):
    """The peer does not agree to TLS, or is not what it was taken for; what it did instead."""


@dataclass(frozen=True, slots=True)
class Starttls:
    """One protocol: its usual port, whether it is spoken in lines, and its steps, which are told our name."""

    port: int
    in_lines: bool
    steps: Callable[[str], Steps]


class Negotiation:
    """One negotiation, on the client's side. `to_send` is what to send first; then `take` is given what comes."""

    def __init__(self, protocol: str, own_name: str = "localhost") -> None:
        self.protocol = protocol
        self._is_by_line = PROTOCOLS[protocol].in_lines
        self._steps = PROTOCOLS[protocol].steps(own_name)
        self._heard = bytearray()
        self.is_done = False
        self.to_send = next(self._steps) or b""

    def take(self, data: bytes) -> bytes:
        """What to send after `data` has come. Raises `RefusedError`."""
        self._heard += data
        answer = bytearray()
        while not self.is_done and (piece := self._next()) is not None:
            try:
                answer += self._steps.send(piece) or b""
            except StopIteration:
                self.is_done = True
        if self.is_done and self._heard:
            raise RefusedError(
                "more came in the clear behind the peer's agreement to TLS; somebody may have put it there"
            )
        return bytes(answer)

    def end(self) -> None:
        """The peer has closed. Raises `RefusedError`."""
        heard = f" after '{_shown(self._heard)}'" if self._heard else ""
        raise RefusedError(f"the peer closed the connection{heard} and did not agree to TLS")

    def _next(self) -> bytes | None:
        """A line without its end, or a byte; None where it has not come yet."""
        if not self._is_by_line:
            piece = bytes(self._heard[:1])
            del self._heard[:1]
            return piece or None
        end = self._heard.find(b"\n")
        if end < 0:
            if len(self._heard) > LINE_BYTES:
                raise RefusedError(f"a line of more than {LINE_BYTES} bytes came, which is no {self.protocol}")
            return None
        line = bytes(self._heard[:end]).rstrip(b"\r")
        del self._heard[: end + 1]
        return line


def _smtp(own_name: str) -> Steps:
    yield from _reply("smtp", b"220", None)
    offered = yield from _reply("smtp", b"250", b"EHLO %s\r\n" % own_name.encode("ascii", "replace"))
    if not any(line[4:].strip().upper() == b"STARTTLS" for line in offered):
        raise RefusedError("the server does not offer STARTTLS in its answer to EHLO")
    yield from _reply("smtp", b"220", b"STARTTLS\r\n")


def _ftp(own_name: str) -> Steps:
    yield from _reply("ftp", b"220", None)
    yield from _reply("ftp", b"234", b"AUTH TLS\r\n")


def _reply(protocol: str, wanted: bytes, said: bytes | None) -> Generator[bytes | None, bytes, list[bytes]]:
    """The lines of an answer to `said`; the last has a space behind its code (RFC 5321, 4.2.1; RFC 959, 4.2)."""
    lines: list[bytes] = []
    line = yield said
    while len(lines) < LINES:
        lines.append(line)
        code = lines[0][:3]
        if not code.isdigit():
            break
        if line[:3] == code and line[3:4] != b"-":
            if code != wanted:
                raise _refusal(protocol, said, line)
            return lines
        line = yield None
    raise RefusedError(f"'{_shown(lines[0])}' is no answer of {protocol}")


def _pop3(own_name: str) -> Steps:
    for said in (None, b"STLS\r\n"):
        line = yield said
        if not line.startswith(b"+OK"):
            raise _refusal("pop3", said, line)


def _imap(own_name: str) -> Steps:
    line = yield None
    if line[:4].upper() != b"* OK":
        raise _refusal("imap", None, line)
    said = b"a1 STARTTLS\r\n"
    line = yield said
    for _ in range(LINES):
        if not line.startswith(b"* "):
            break
        line = yield None
    if line[:5].upper() != b"A1 OK":
        raise _refusal("imap", said, line)


def _postgres(own_name: str) -> Steps:
    answer = yield SSL_REQUEST
    if answer == b"N":
        raise RefusedError("the server does not speak TLS (it answers N); switch it on there with ssl = on")
    if answer != b"S":
        raise RefusedError(f"the answer to SSLRequest begins with '{_shown(answer)}': the peer is no PostgreSQL server")


PROTOCOLS: Mapping[str, Starttls] = {
    "smtp": Starttls(25, True, _smtp),
    "imap": Starttls(143, True, _imap),
    "pop3": Starttls(110, True, _pop3),
    "ftp": Starttls(21, True, _ftp),
    "postgres": Starttls(5432, False, _postgres),
}
"""By the name that `--starttls` takes."""

STARTTLS_PORTS: Mapping[str, int] = {name: protocol.port for name, protocol in PROTOCOLS.items()}
"""The usual port of each."""


def _refusal(protocol: str, said: bytes | None, line: bytes) -> RefusedError:
    if said is None:
        return RefusedError(f"it greets with '{_shown(line)}', which is no {protocol} server that is ready")
    return RefusedError(f"'{said.decode('ascii').strip()}' was answered with '{_shown(line)}'")


def _shown(data: bytes | bytearray) -> str:
    """The beginning of what a peer said, for an error's one line."""
    text = printable(bytes(data[:80]).decode("utf-8", "replace"))
    return text + ("…" if len(data) > 80 else "")
