"""The messages of the TLS handshake (RFC 8446, section 4; RFC 5246, section 7.4; RFC 6347, section 4.2).

Hellos are read whole. Of the others, what is in the clear and tells something: the certificates' sizes, a ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from echowire.core.packets.layers import Field
from echowire.core.packets.protocols.tls import fingerprints as prints
from echowire.core.packets.protocols.tls import names
from echowire.core.packets.protocols.tls.fields import HandshakeFields
from echowire.core.packets.protocols.tls.fingerprints import Hello
from echowire.core.packets.walk import Walk
from echowire.core.text import ascii_text

NS_PER_S = 1_000_000_000

CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY, TICKET, HELLO_RETRY, CERTIFICATE, REQUEST = 1, 2, 3, 4, 6, 11, 13

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a server hello that asks for another client hello (RFC 8446, section 4.1.3)."""

EARLY_DRAFTS = range(0x7F0E, 0x7F16)
"""Drafts of TLS 1.3 (14 to 21) whose server hello has neither a session's id nor a compression method."""

MAX_LISTED = 4_000
"""Entries of one list that are noted."""


@dataclass(slots=True)
class Message:
    """What a message said that the ones after it depend on."""

    type: int
    version: int = 0
    """The version that a server chose, by its hello or by the extension supported_versions."""
    alpn: str = ""
    """The protocol that a server chose."""
    is_retry: bool = False

    @property
    def name(self) -> str:
        """What the packet list calls it."""
        return "Hello Retry Request" if self.is_retry else names.HANDSHAKE_TYPES.get(self.type, "Unknown")


@dataclass(slots=True)
class Reader:
    """Reads messages for one protocol: `fields` are its names, `transport` is JA4's letter for it."""

    fields: HandshakeFields
    transport: str

    def body(self, w: Walk, message: Message) -> None:
        """What follows a message's header; `w` holds that alone."""
        if message.type == CLIENT_HELLO:
            self._client_hello(w)
        elif message.type in (SERVER_HELLO, HELLO_RETRY):
            self._server_hello(w, message)
        elif message.type == HELLO_VERIFY and self.transport == "d":
            message.version = w.add_uint(self.fields.version, 0)
            self._cookie(w, 2)
        elif message.type == TICKET and w.size >= 6:
            w.add_uint(self.fields.ticket_lifetime, 0)
            size = w.add_uint(self.fields.ticket_length, 4)
            w.add(self.fields.ticket, w.take(6, size), 6, size)
        elif message.type == CERTIFICATE:
            self._certificates(w)
        elif message.type == REQUEST:
            size = w.add_uint(self.fields.certificate_types_count, 0)
            w.add(self.fields.certificate_types, True, 1, size)
            with w.subtree():
                self._numbers(w, self.fields.certificate_type, 1, size)

    def _cookie(self, w: Walk, at: int) -> int:
        size = w.u8(at)
        w.add(self.fields.hello_cookie_length, size, at, 1)
        if size:
            w.add(self.fields.hello_cookie, w.take(at + 1, size), at + 1, size)
        return at + 1 + size

    def _random(self, w: Walk, has_session: bool = True) -> int:
        """Version and random, and the session's id. Gives the offset behind it."""
        f = self.fields
        w.add_uint(f.version, 0)
        w.add(f.random, w.take(2, 32), 2, 32)
        with w.subtree():
            w.add(f.random_time, w.u32(2) * NS_PER_S, 2, 4)
            w.add(f.random_bytes, w.take(6, 28), 6, 28)
        if not has_session:
            return 34
        size = w.u8(34)
        w.add(f.session_id_length, size, 34, 1)
        if size:
            w.add(f.session_id, w.take(35, size), 35, size)
        return 35 + size

    def _client_hello(self, w: Walk) -> None:
        f, hello = self.fields, Hello(w.u16(0))
        at = self._random(w)
        if self.transport == "d":
            at = self._cookie(w, at)
        size = w.add_uint(f.suites_length, at)
        w.need(at + 2, size)
        w.add(f.suites, True, at + 2, size)
        with w.subtree():
            hello.suites = self._numbers(w, f.suite, at + 2, size)
        at += 2 + size
        size = w.add_uint(f.compressions_length, at)
        w.need(at + 1, size)
        w.add(f.compressions, True, at + 1, size)
        with w.subtree():
            self._numbers(w, f.compression, at + 1, size)
        self._extensions(w, at + 1 + size, hello, Message(CLIENT_HELLO))
        full = prints.ja3(hello)
        mark, raw = prints.ja4(hello, self.transport)
        w.add(f.ja4, mark, 0, 0)
        w.add(f.ja4_raw, raw, 0, 0)
        w.add(f.ja3_full, full, 0, 0)
        w.add(f.ja3, prints.md5(full), 0, 0)

    def _server_hello(self, w: Walk, message: Message) -> None:
        f, hello = self.fields, Hello(w.u16(0))
        message.version = hello.version
        message.is_retry = w.take(2, 32) == RETRY
        is_draft = hello.version in EARLY_DRAFTS
        at = self._random(w, has_session=not is_draft)
        hello.suites = [w.add_uint(f.suite, at)]
        at += 2
        if not is_draft:
            w.add_uint(f.compression, at)
            at += 1
        self._extensions(w, at, hello, message)
        if hello.versions:
            message.version = hello.versions[0]
        if hello.alpn:
            message.alpn = ascii_text(hello.alpn[0])
        full = prints.ja3s(hello)
        w.add(f.ja3s_full, full, 0, 0)
        w.add(f.ja3s, prints.md5(full), 0, 0)

    def _certificates(self, w: Walk) -> None:
        """RFC 5246, section 7.4.2: a list of certificates, each with its length before it."""
        f = self.fields
        size = w.add_uint(f.certificates_length, 0)
        if size:
            w.add(f.certificates, True, 3, size)
        at, end = 3, 3 + size
        with w.subtree():
            while at < end:
                size = w.add_uint(f.certificate_length, at)
                w.add(f.certificate, w.take(at + 3, size), at + 3, size)
                at += 3 + size

    def _numbers(self, w: Walk, field: Field, at: int, size: int) -> list[int]:
        """A list of numbers, all as wide as the field."""
        end = at + size - size % field.width
        return [w.add_uint(field, place) for place in range(at, end, field.width)][:MAX_LISTED]

    def _extensions(self, w: Walk, at: int, hello: Hello, message: Message) -> None:
        if at >= w.size:
            return
        f = self.fields
        end = min(at + 2 + w.add_uint(f.extensions_length, at), w.size)
        at += 2
        while at + 4 <= end:
            kind, size = w.u16(at), min(w.u16(at + 2), end - at - 4)
            hello.extensions.append(kind)
            name = names.EXTENSIONS.get(kind, "Unknown type " + str(kind))
            with w.subtree(f"Extension: {name} (len={size})", at, 4 + size):
                w.add(f.extension_type, kind, at, 2)
                w.add(f.extension_length, size, at + 2, 2)
                parse = _EXTENSIONS.get(kind)
                if parse is not None:
                    w.within(at + 4, size, lambda part, parse=parse: parse(self, part, hello, message))  # type: ignore[misc]
                elif size and kind not in names.GREASE:
                    w.add(f.extension_data, w.take(at + 4, size), at + 4, size)
            at += 4 + size

    # The extensions. Each is given a walk over its data alone; what runs past that is not read.

    def _server_name(self, w: Walk, hello: Hello, message: Message) -> None:
        f = self.fields
        if not w.size:
            return
        end, at = 2 + w.add_uint(f.server_name_list, 0), 2
        while at < end:
            w.add_uint(f.server_name_type, at)
            size = w.add_uint(f.server_name_length, at + 1)
            w.add(f.server_name, ascii_text(w.take(at + 3, size)), at + 3, size)
            at += 3 + size

    def _groups(self, w: Walk, hello: Hello, message: Message) -> None:
        size = w.add_uint(self.fields.groups_length, 0)
        w.add(self.fields.groups, True, 2, size)
        with w.subtree():
            hello.groups = self._numbers(w, self.fields.group, 2, size)

    def _points(self, w: Walk, hello: Hello, message: Message) -> None:
        size = w.add_uint(self.fields.points_length, 0)
        w.add(self.fields.points, True, 1, size)
        with w.subtree():
            hello.points = self._numbers(w, self.fields.point, 1, size)

    def _signatures(self, w: Walk, hello: Hello, message: Message) -> None:
        f = self.fields
        size = w.add_uint(f.signatures_length, 0)
        w.add(f.signatures, True, 2, size)
        found = []
        with w.subtree():
            for at in range(2, 2 + size - size % 2, 2):
                found.append(w.add_uint(f.signature, at))
                with w.subtree():
                    w.add_uint(f.signature_hash, at)
                    w.add_uint(f.signature_kind, at + 1)
        hello.signatures = hello.signatures or found

    def _alpn(self, w: Walk, hello: Hello, message: Message) -> None:
        f = self.fields
        size = w.add_uint(f.alpn_length, 0)
        w.add(f.alpn_list, True, 2, size)
        with w.subtree():
            for at, length in self._strings(w, 2, 2 + size, f.alpn_name_length):
                name = w.take(at, length)
                hello.alpn.append(name)
                w.add(f.alpn, ascii_text(name), at, length)

    def _strings(self, w: Walk, at: int, end: int, length: Field) -> Iterator[tuple[int, int]]:
        """Where strings with a byte of length before each stand."""
        while at < end:
            size = w.add_uint(length, at)
            yield at + 1, size
            at += 1 + size

    def _npn(self, w: Walk, hello: Hello, message: Message) -> None:
        for at, length in self._strings(w, 0, w.size, self.fields.npn_length):
            w.add(self.fields.npn, ascii_text(w.take(at, length)), at, length)

    def _padding(self, w: Walk, hello: Hello, message: Message) -> None:
        if w.size:
            w.add(self.fields.padding, w.data, 0, w.size)

    def _versions(self, w: Walk, hello: Hello, message: Message) -> None:
        if message.type == CLIENT_HELLO:
            size = w.add_uint(self.fields.versions_length, 0)
            hello.versions = self._numbers(w, self.fields.supported_version, 1, size)
        else:
            hello.versions = [w.add_uint(self.fields.supported_version, 0)]

    def _shares(self, w: Walk, hello: Hello, message: Message) -> None:
        f = self.fields
        if message.is_retry or (message.type != CLIENT_HELLO and w.size == 2):
            w.add_uint(f.share_selected, 0)
            return
        at = 0
        if message.type == CLIENT_HELLO:
            w.add_uint(f.shares_length, 0)
            at = 2
        while at < w.size:
            w.add_uint(f.share_group, at)
            size = w.add_uint(f.share_length, at + 2)
            w.add(f.share, w.take(at + 4, size), at + 4, size)
            at += 4 + size

    def _psk_modes(self, w: Walk, hello: Hello, message: Message) -> None:
        self._numbers(w, self.fields.psk_mode, 1, w.add_uint(self.fields.psk_modes_length, 0))

    def _renegotiation(self, w: Walk, hello: Hello, message: Message) -> None:
        size = w.add_uint(self.fields.renegotiation_length, 0)
        if size:
            w.add(self.fields.renegotiation, w.take(1, size), 1, size)

    def _status(self, w: Walk, hello: Hello, message: Message) -> None:
        if w.size:
            w.add_uint(self.fields.status_type, 0)
            size = w.add_uint(self.fields.status_ids, 1)
            w.add_uint(self.fields.status_extensions, 3 + size)

    def _record_size(self, w: Walk, hello: Hello, message: Message) -> None:
        w.add_uint(self.fields.record_size_limit, 0)

    def _heartbeat(self, w: Walk, hello: Hello, message: Message) -> None:
        w.add_uint(self.fields.heartbeat_mode, 0)

    def _retry_cookie(self, w: Walk, hello: Hello, message: Message) -> None:
        size = w.add_uint(self.fields.cookie_length, 0)
        w.add(self.fields.cookie, w.take(2, size), 2, size)

    def _nothing(self, w: Walk, hello: Hello, message: Message) -> None:
        """Its being there is all that it says, or it is a ticket that only its server can read."""
        if w.size:
            w.add(self.fields.extension_data, w.data, 0, w.size)


_EXTENSIONS: dict[int, Callable[[Reader, Walk, Hello, Message], None]] = {
    0: Reader._server_name,
    5: Reader._status,
    10: Reader._groups,
    11: Reader._points,
    13: Reader._signatures,
    15: Reader._heartbeat,
    16: Reader._alpn,
    21: Reader._padding,
    22: Reader._nothing,
    23: Reader._nothing,
    28: Reader._record_size,
    35: Reader._nothing,
    40: Reader._shares,
    43: Reader._versions,
    44: Reader._retry_cookie,
    45: Reader._psk_modes,
    50: Reader._signatures,
    51: Reader._shares,
    13172: Reader._npn,
    65281: Reader._renegotiation,
}
