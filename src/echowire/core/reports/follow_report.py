"""What was said in one stream, as `tshark -z follow,PROTOCOL,MODE,STREAM` shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from echowire.core.packets.dissect import Packets
from echowire.core.reports.base import SECOND_NS
from echowire.core.reports.follow import Following, Piece
from echowire.model import host_and_port

RULE = "=" * 67
BYTES_A_LINE = 16
YAML_LINE = 76
"""Characters of base64 on a line (RFC 2045, section 6.8)."""

PRINTED = bytes(c if 32 <= c < 127 or c in b"\r\n" else ord(".") for c in range(256))
DUMPED = bytes(c if 32 <= c < 127 else ord(".") for c in range(256))

MAX_KEPT_BYTES = 1 << 30
"""Of a stream that are kept to be shown: beyond, the rest is counted and not shown."""


class Follow:
    """The report: both directions of a stream, in the order in which they were said."""

    def __init__(self, protocol: str, mode: str, stream: int) -> None:
        self.mode = mode
        self._following = Following(protocol, stream)
        self.pieces: list[Piece] = []
        self._kept = 0
        self.left_out = 0
        """Bytes beyond `MAX_KEPT_BYTES`."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        return self._following.fields

    def add(self, packets: Packets) -> None:
        """Follow it through a chunk."""
        for piece in self._following.feed(packets):
            self._kept += len(piece.data)
            if self._kept > MAX_KEPT_BYTES:
                self.left_out += len(piece.data)
            else:
                self.pieces.append(piece)

    def _peers(self) -> list[tuple[str, int]]:
        """Node 0 is the end whose packet came first."""
        return self._following.ends or [("", 0), ("", 0)]

    def text(self, width: int) -> Iterator[str]:
        """As tshark prints it; what the second end said is set off by a tab."""
        if self.mode == "yaml":
            yield from self._yaml()
            return
        yield ""
        yield RULE
        protocol = self._following.protocol
        yield f"Follow: {protocol},{self.mode}"
        yield f"Filter: {protocol}.stream eq {self._following.stream}"
        for number, end in enumerate(self._peers()):
            yield f"Node {number}: {host_and_port(*end)}"
        yield from _MODES[self.mode](self)
        if self.left_out:
            yield f"[{self.left_out} bytes more are not shown]"
        yield RULE

    def _ascii(self) -> Iterator[str]:
        for piece in self.pieces:
            data = said(piece)
            yield ("\t" if piece.end else "") + str(len(data))
            yield data.translate(PRINTED).decode("ascii")

    def _raw(self) -> Iterator[str]:
        for piece in self.pieces:
            yield ("\t" if piece.end else "") + said(piece).hex()

    def _hex(self) -> Iterator[str]:
        offsets = [0, 0]
        for piece in self.pieces:
            yield from hex_lines(said(piece), offsets[piece.end], "\t" if piece.end else "")
            offsets[piece.end] += len(said(piece))

    def _yaml(self) -> Iterator[str]:
        yield "peers:"
        for number, (host, port) in enumerate(self._peers()):
            yield from (f"  - peer: {number}", f"    host: {host}", f"    port: {port}")
        yield "packets:"
        for piece in self.pieces:
            yield f"  - packet: {piece.frame}"
            yield f"    peer: {piece.end}"
            yield f"    timestamp: {piece.time_ns // SECOND_NS}.{piece.time_ns % SECOND_NS:09}"
            yield "    data: !!binary |"
            text = base64.b64encode(said(piece)).decode("ascii")
            yield from (f"      {text[at : at + YAML_LINE]}" for at in range(0, len(text), YAML_LINE))

    def document(self) -> dict[str, Any]:
        """As data: the bytes as base64, gaps as how many are missing."""
        pieces = [
            {"peer": one.end, "frame": one.frame, "time_ns": one.time_ns}
            | ({"missing": one.missing} if one.missing else {"data": base64.b64encode(one.data).decode("ascii")})
            for one in self.pieces
        ]
        return {
            "report": "follow",
            "protocol": self._following.protocol,
            "stream": self._following.stream,
            "peers": [{"host": host, "port": port} for host, port in self._following.ends or ()],
            "packets": pieces,
            "left_out_bytes": self.left_out,
        }


def said(piece: Piece) -> bytes:
    """What is shown of a piece; a gap as Wireshark says it, with the zero byte that it has at the end."""
    return piece.data or b"[%d bytes missing in capture file]\0" % piece.missing


def hex_lines(data: bytes, offset: int, before: str) -> Iterator[str]:
    """A dump: offset, hexadecimal digits, characters; a space more in the middle of both, and one less at the end."""
    for at in range(0, len(data), BYTES_A_LINE):
        line = data[at : at + BYTES_A_LINE]
        left, right = line[:8].hex(" "), line[8:].hex(" ")
        shown = line.translate(DUMPED).decode("ascii")
        characters = (f"{shown[:8]} {shown[8:]}" if len(line) >= BYTES_A_LINE // 2 else shown).removesuffix(" ")
        yield f"{before}{offset + at:08X}  {left:<23}  {right:<23}  {characters}"


_MODES = {"ascii": Follow._ascii, "raw": Follow._raw, "hex": Follow._hex}
MODES: Mapping[str, str] = {"ascii": "text", "hex": "a dump", "raw": "digits", "yaml": "a document"}
"""The ways to show a stream."""
