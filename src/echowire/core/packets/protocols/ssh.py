"""SSH (RFC 4253): the banners, and the packets up to New Keys, behind which all is encrypted.

What a side offers in its Key Exchange Init tells which program it is: hassh is the MD5 of some of its lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from echowire.core.packets import digests
from echowire.core.packets.columns import Type
from echowire.core.packets.conversation import sockets
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.protocols.text_lines import requests, said, shown, told
from echowire.core.packets.walk import MalformedError, Walk

PORTS = (22, 29418)
KEY_EXCHANGE_INIT, NEW_KEYS = 20, 21
MAX_PACKET_BYTES = 0x10000
"""Of a packet in the clear: twice what every implementation must take (RFC 4253, 6.1)."""
MAX_TALKS = 50_000
"""Conversations whose state is kept; the oldest is forgotten first."""

_MESSAGES = {
    1: "Disconnect",
    2: "Ignore",
    3: "Unimplemented",
    4: "Debug",
    5: "Service Request",
    6: "Service Accept",
    KEY_EXCHANGE_INIT: "Key Exchange Init",
    NEW_KEYS: "New Keys",
}
_DIFFIE_HELLMAN = {30: "Diffie-Hellman Key Exchange Init", 31: "Diffie-Hellman Key Exchange Reply"}
_GROUP_EXCHANGE = {
    31: "Diffie-Hellman Group Exchange Group",
    32: "Diffie-Hellman Group Exchange Init",
    33: "Diffie-Hellman Group Exchange Reply",
    34: "Diffie-Hellman Group Exchange Request",
}
_ELLIPTIC = {
    30: "Elliptic Curve Diffie-Hellman Key Exchange Init",
    31: "Elliptic Curve Diffie-Hellman Key Exchange Reply",
}


def _exchange(method: str) -> dict[int, str]:
    """What messages 30 to 34 are, which depends on the method that was agreed upon (RFC 4253, 7.2)."""
    if not method:
        return _GROUP_EXCHANGE | _DIFFIE_HELLMAN
    if method.startswith("diffie-hellman-group-exchange"):
        return _GROUP_EXCHANGE
    return _DIFFIE_HELLMAN if method.startswith("diffie-hellman") else _ELLIPTIC


@dataclass(slots=True)
class _Talk:
    """What is known of a conversation."""

    version: str = ""
    offers: dict[bool, list[str]] = field(default_factory=dict)
    """The methods of key exchange that the client (True) and the server offer."""
    encrypted: set[bool] = field(default_factory=set)
    """The sides that have said New Keys."""

    def name(self, code: int) -> str:
        """What a message is called."""
        if 30 <= code <= 34:
            offered = self.offers.get(False, [])
            method = next((one for one in self.offers.get(True, []) if one in offered), "")
            return _exchange(method).get(code, f"Unknown ({code})")
        return _MESSAGES.get(code, f"Unknown ({code})")


_PROTOCOL = Field("ssh.protocol", "Protocol", Type.STRING)
_LENGTH = Field("ssh.packet_length", "Packet Length", Type.UINT32)
_PADDING = Field("ssh.padding_length", "Padding Length", Type.UINT8)
_CODE = Field("ssh.message_code", "Message Code", Type.UINT8, names=_MESSAGES)
_COOKIE = Field("ssh.cookie", "Cookie", Type.BYTES)
_ENCRYPTED = Field("ssh.encrypted_packet", "Encrypted Packet", Type.BYTES)
_HASSH = Field("ssh.kex.hassh", "hassh", Type.STRING, generated=True)
_HASSH_SERVER = Field("ssh.kex.hasshserver", "hasshServer", Type.STRING, generated=True)
_LIST_NAMES = (
    "kex_algorithms",
    "server_host_key_algorithms",
    "encryption_algorithms_client_to_server",
    "encryption_algorithms_server_to_client",
    "mac_algorithms_client_to_server",
    "mac_algorithms_server_to_client",
    "compression_algorithms_client_to_server",
    "compression_algorithms_server_to_client",
    "languages_client_to_server",
    "languages_server_to_client",
)
_LISTS = tuple(
    (Field(f"ssh.{name}_length", f"{name} length", Type.UINT32), Field(f"ssh.{name}", f"{name} string", Type.STRING))
    for name in _LIST_NAMES
)


def _talk(walk: Walk) -> _Talk:
    return walk.memory.of_each("ssh talks", sockets(walk.layer)[walk.entry], _Talk, MAX_TALKS)


def _walk(walk: Walk) -> None:
    talk, from_client = _talk(walk), requests(walk.layer, PORTS)[walk.entry]
    side = "Client" if from_client else "Server"
    if talk.version:
        walk.layer.once("columns", dict[int, str])[walk.entry] = f"SSHv{talk.version}"
    at, names = 0, list[str]()
    if walk.data.startswith(b"SSH-"):
        end = walk.data.find(b"\n") + 1 or walk.size
        banner = shown(walk.data[:end])
        walk.add(_PROTOCOL, banner, 0, end)
        talk.version = "1" if banner.startswith("SSH-1.") and not banner.startswith("SSH-1.99") else "2"
        names.append(f"Protocol ({banner})")
        at = end
    while at < walk.size:
        size = walk.uint(at, 4) if from_client not in talk.encrypted and talk.version == "2" else 0
        if not 2 <= size <= MAX_PACKET_BYTES:
            names.append(f"Encrypted packet (len={walk.wire_size - at})")
            told(walk.layer)[walk.entry] = f"{side}: {', '.join(names)}"
            walk.add(_ENCRYPTED, walk.take(at, walk.size - at), at, walk.size - at)
            return
        names.append(talk.name(walk.u8(at + 5)))
        told(walk.layer)[walk.entry] = f"{side}: {', '.join(names)}"
        _packet(walk, talk, at, from_client)
        at += 4 + size
    told(walk.layer)[walk.entry] = f"{side}: {', '.join(names)}"


def _packet(walk: Walk, talk: _Talk, at: int, from_client: bool) -> None:
    """A packet in the clear (RFC 4253, 6)."""
    size, code = walk.u32(at), walk.u8(at + 5)
    with walk.subtree(f"SSH Version 2: {talk.name(code)}", at, 4 + size):
        walk.add_uint(_LENGTH, at)
        walk.add_uint(_PADDING, at + 4)
        walk.add(_CODE, code, at + 5, 1, f"Message Code: {talk.name(code)} ({code})")
        if code == KEY_EXCHANGE_INIT:
            _offer(walk, talk, at + 6, at + 4 + size, from_client)
        elif code == NEW_KEYS:
            talk.encrypted.add(from_client)


def _offer(walk: Walk, talk: _Talk, at: int, end: int, from_client: bool) -> None:
    """What a side is able to (RFC 4253, 7.1)."""
    walk.add(_COOKIE, walk.take(at, 16), at, 16)
    at += 16
    texts = []
    for length, names in _LISTS:
        size = walk.add_uint(length, at)
        if at + 4 + size > end:
            raise MalformedError("a list reaches beyond its packet")
        texts.append(walk.take(at + 4, size).decode("ascii", "replace"))
        walk.add(names, texts[-1], at + 4, size)
        if len(texts) == 1:
            talk.offers[from_client] = texts[0].split(",")
        at += 4 + size
    picked = (0, 2, 4, 6) if from_client else (0, 3, 5, 7)
    digest = digests.md5(";".join(texts[one] for one in picked).encode())
    walk.add(_HASSH if from_client else _HASSH_SERVER, digest, at, 0, f"[hassh: {digest}]")


def _column(layer: Layer) -> list[str]:
    columns = layer.once("columns", dict[int, str])
    return [columns.get(entry, "SSH") for entry in range(len(layer))]


PROTOCOLS = (
    Protocol(
        "ssh",
        "SSH Protocol",
        _column,
        fields=(
            *(_PROTOCOL, _LENGTH, _PADDING, _CODE, _COOKIE, _ENCRYPTED, _HASSH, _HASSH_SERVER),
            *(one for pair in _LISTS for one in pair),
        ),
        keys=tuple(("tcp.port", port) for port in PORTS),
        walk=_walk,
        info=said,
    ),
)
