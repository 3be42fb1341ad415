"""Fingerprints of TLS hellos: JA3, JA3S and JA4, by which clients and servers are told apart (FoxIO, Salesforce).

They leave out what says nothing (RFC 8701's numbers) and are made of what the software chose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from echowire.core.packets import digests
from echowire.core.packets.protocols.tls.names import GREASE

SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, SUPPORTED_VERSIONS = 0, 10, 11, 13, 16, 43
"""Extensions that a fingerprint looks into."""

_VERSIONS = {
    0x0304: "13",
    0x0303: "12",
    0x0302: "11",
    0x0301: "10",
    0x0300: "s3",
    0x0002: "s2",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}


@dataclass(slots=True)
class Hello:
    """What a hello said, in its order."""

    version: int = 0
    suites: list[int] = field(default_factory=list)
    extensions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    signatures: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """Of the extension supported_versions."""
    alpn: list[bytes] = field(default_factory=list)


def _real(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number not in GREASE]


def _decimal(numbers: Iterable[int]) -> str:
    return "-".join(map(str, _real(numbers)))


def _hex(numbers: Iterable[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def ja3(hello: Hello) -> str:
    """A client's, in full; its MD5 is what is called JA3."""
    points = "-".join(map(str, hello.points))
    lists = (_decimal(hello.suites), _decimal(hello.extensions), _decimal(hello.groups), points)
    return f"{hello.version},{','.join(lists)}"


def ja3s(hello: Hello) -> str:
    """A server's, in full."""
    return f"{hello.version},{_decimal(hello.suites)},{_decimal(hello.extensions)}"


def md5(text: str) -> str:
    """As it is used to shorten JA3."""
    return digests.md5(text.encode())


def _alpn_mark(names: list[bytes]) -> str:
    """The first and the last character of the first protocol, or of its hexadecimal where they are none to read."""
    if not names or not names[0]:
        return "00"
    ends = names[0][:1] + names[0][-1:]
    if ends.isalnum():
        return ends.decode()
    digits = names[0].hex()
    return digits[0] + digits[-1]


def _short(text: str) -> str:
    return digests.sha256(text.encode())[:12] if text else "000000000000"


def ja4(hello: Hello, transport: str) -> tuple[str, str]:
    """A client's JA4 and its raw form; `transport` is `t` for TCP, `q` for QUIC, `d` for DTLS."""
    version = max(_real(hello.versions), default=hello.version)
    if transport == "d" and hello.versions:
        version = min(_real(hello.versions), default=hello.version)  # DTLS counts down
    suites, extensions = _real(hello.suites), _real(hello.extensions)
    name = "d" if SERVER_NAME in extensions else "i"
    head = f"{transport}{_VERSIONS.get(version, '00')}{name}{min(len(suites), 99):02}{min(len(extensions), 99):02}"
    head += _alpn_mark(hello.alpn)
    sorted_suites = _hex(sorted(suites))
    others = _hex(sorted(one for one in extensions if one not in (SERVER_NAME, ALPN)))
    signatures = _hex(_real(hello.signatures))
    second = f"{others}_{signatures}" if signatures else others
    return f"{head}_{_short(sorted_suites)}_{_short(second)}", f"{head}_{sorted_suites}_{second}"
