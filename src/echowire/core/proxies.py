"""To be connected by a proxy: SOCKS 5 (RFC 1928, with the user and password of RFC 1929) and HTTP's CONNECT (RFC 9110,
section 9.3.6), as what is said and what is answered.

`negotiation` is a conversation without its socket: it yields what to send and how much to read next, is sent what was
read, and ends when the connection behind the proxy stands.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, get_args

from echowire.core.text import printable
from echowire.errors import ProtocolError, UsageError
from echowire.model import Endpoint, host_and_port

ProxyKind: TypeAlias = Literal["socks5", "http"]
KINDS: tuple[ProxyKind, ...] = get_args(ProxyKind)

PORTS: Mapping[ProxyKind, int] = {"socks5": 1080, "http": 3128}
"""Where a proxy listens unless it is said: SOCKS's own port (RFC 1928, section 3), and nc's for HTTP, squid's."""

HEAD_MAX = 16 * 1024
"""Bytes of an HTTP answer's head that are read: twice what common servers allow one."""

NONE_OF_THEM = 0xFF
"""What it answers where none of the methods, to know who asks, is enough (RFC 1928, section 3)."""

LONGEST_NAME = 255
"""Bytes of a user, a password, a host's name: their length is one byte (RFC 1928, section 4; RFC 1929, section 2)."""

REPLIES: Mapping[int, str] = {
    1: "general failure",
    2: "its rules do not allow it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "it cannot connect",
    8: "it does not know this kind of address",
}
"""What a SOCKS 5 proxy answers but success (RFC 1928, section 6)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: what it speaks, where it is, and who asks, where it wants to know."""

    kind: ProxyKind
    endpoint: Endpoint
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, *, kind: ProxyKind | None = None, user: str = "", password: str = "") -> Proxy:
        """Read `host:port`, `host`, or a URL: `socks5://host:port`, `http://user:password@host:port`.

        `kind` is what it speaks where the text does not say it; None is SOCKS 5. Raises `UsageError`.
        """
        scheme, slashes, rest = text.partition("://")
        if slashes and scheme not in KINDS:
            raise UsageError(f"'{text}': a proxy speaks {' or '.join(KINDS)}, as in socks5://host:1080")
        spoken = next((each for each in KINDS if slashes and each == scheme), None) or kind or "socks5"
        who, at, where = (rest if slashes else text).rpartition("@")
        if at:
            user, _, password = who.partition(":")
        endpoint = Endpoint.parse(where.rstrip("/"), port=PORTS[spoken])
        return cls(spoken, endpoint, user, password)

    @property
    def url(self) -> str:
        """Where it is, and what it speaks; not who asks."""
        return f"{self.kind}://{self.endpoint.address}"


class Step(NamedTuple):
    """What to send, and then how many bytes to read; None is an HTTP head, up to its empty line."""

    send: bytes
    want: int | None


def negotiation(proxy: Proxy, host: str, port: int) -> Generator[Step, bytes, None]:
    """Have `proxy` connect to `host` and `port`. Raises `ProtocolError` with what it objects to, `UsageError`."""
    return (_socks5 if proxy.kind == "socks5" else _http)(proxy, host or "localhost", port)


def _socks5(proxy: Proxy, host: str, port: int) -> Generator[Step, bytes, None]:
    methods = b"\0\2" if proxy.user else b"\0"
    version, method = yield Step(bytes([5, len(methods)]) + methods, 2)
    if version != 5 or method not in (*methods, NONE_OF_THEM):
        raise ProtocolError(f"the proxy does not speak SOCKS 5 (it answers {version:02x}{method:02x}); try -X connect")
    if method == 2:
        login = b"\1" + _counted(proxy.user, "user") + _counted(proxy.password, "password")
        _, refusal = yield Step(login, 2)
        if refusal:
            raise ProtocolError("the proxy does not accept this user and password")
    elif method:
        raise ProtocolError("the proxy wants to know who asks; give --proxy-auth USER:PASSWORD")
    answer = yield Step(b"\5\1\0" + _address(host) + port.to_bytes(2), 5)
    if answer[1]:
        said = REPLIES.get(answer[1], "it failed")
        raise ProtocolError(f"the proxy says: {said} (SOCKS 5 reply {answer[1]})")
    # The address that it calls from, of which the first byte was read: of a name it is the length.
    yield Step(b"", {1: 3, 4: 15}.get(answer[3], answer[4]) + 2)


def _address(host: str) -> bytes:
    """The kind of an address, and the address; a name is left for the proxy to look up (RFC 1928, section 5)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b"\3" + _counted(host, "host's name")
    return (b"\1" if address.version == 4 else b"\4") + address.packed


def _counted(text: str, name: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > LONGEST_NAME:
        raise UsageError(f"a proxy's {name} has at most {LONGEST_NAME} bytes, and this one {len(data)}")
    return bytes([len(data)]) + data


def _http(proxy: Proxy, host: str, port: int) -> Generator[Step, bytes, None]:
    to = host_and_port(host, port)
    if any(not c.isprintable() or c == " " for c in to):
        raise UsageError(f"'{printable(host)}' is not a host name")
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}"]
    if proxy.user:
        secret = b64encode(f"{proxy.user}:{proxy.password}".encode("utf-8", "surrogateescape")).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    head = yield Step("".join(f"{line}\r\n" for line in [*lines, ""]).encode("utf-8", "surrogateescape"), None)
    status = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    version, _, rest = status.partition(" ")
    if not version.startswith("HTTP/"):
        raise ProtocolError("the proxy does not speak HTTP; try -X 5")
    if rest.startswith("407"):
        raise ProtocolError("the proxy wants to know who asks, and accepts no other; give --proxy-auth USER:PASSWORD")
    if not rest.startswith("2"):
        raise ProtocolError(f"the proxy says: {printable(rest)}")
