"""What is remarkable in a capture, by severity, as `tshark -z expert` lists it: what the columns tell.

That are the handshakes, ends and resets of TCP connections, all that the analysis of streams notes (retransmissions,
gaps, duplicate acknowledgments, windows), the first lines of HTTP messages, and packets that are not as their protocol
says. Wireshark knows thousands of remarks more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from echowire.core.captures.records import Rows
from echowire.core.packets.dissect import Packets, first_of_each
from echowire.core.packets.layers import Layer
from echowire.core.packets.streams import stream_numbers
from echowire.core.packets.tcp.header import ACK, FIN, RST, SYN
from echowire.core.reports.base import Sieve
from echowire.core.text import printable

SEVERITIES = {"error": "Errors", "warn": "Warns", "note": "Notes", "chat": "Chats"}
"""The severest first, as they are listed."""

MAX_SUMMARIES = 100_000
"""Different remarks that are kept: a capture of hostile requests must not fill the memory."""


MAX_STREAMS = 1_000_000
"""Connections whose ends are told apart by who closed first."""


class Remark(NamedTuple):
    """One kind of thing that is remarkable."""

    severity: str
    group: str
    protocol: str
    summary: str


ANALYSIS = (
    ("reused_ports", "note", "A new tcp session is started with the same ports as an earlier session in this trace"),
    ("fast_retransmission", "note", "This frame is a (suspected) fast retransmission"),
    ("spurious_retransmission", "note", "This frame is a (suspected) spurious retransmission"),
    ("retransmission", "note", "This frame is a (suspected) retransmission"),
    ("out_of_order", "warn", "This frame is a (suspected) out-of-order segment"),
    ("lost_segment", "warn", "Previous segment(s) not captured (common at capture start)"),
    ("ack_lost_segment", "warn", "ACKed segment that wasn't captured (common at capture start)"),
    ("window_update", "chat", "TCP window update"),
    ("window_full", "warn", "TCP window specified by the receiver is now completely full"),
    ("keep_alive", "note", "TCP keep-alive segment"),
    ("keep_alive_ack", "note", "ACK to a TCP keep-alive segment"),
    ("zero_window_probe", "note", "TCP Zero Window Probe"),
    ("zero_window", "warn", "TCP Zero Window segment"),
    ("zero_window_probe_ack", "note", "ACK to a TCP Zero Window Probe"),
)
MESSAGES = (
    ("http.request.method", "http.request.uri", "http.request.version"),
    ("http.response.version", "http.response.code", "http.response.phrase"),
)
"""The words of a request's first line, and of a response's."""


class Expert:
    """The report: how often each remark was to be made."""

    def __init__(self, least: str = "chat", filter_text: str = "") -> None:
        self._shown = list(SEVERITIES)[: list(SEVERITIES).index(least) + 1]
        self._sieve = Sieve(filter_text)
        self._counts: Counter[Remark] = Counter()
        self._first: dict[Remark, int] = {}
        self._closed: dict[int, list[int]] = {}

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        marks = [f"tcp.analysis.{name}" for name, *_ in ANALYSIS]
        more = ("tcp.analysis.duplicate_ack_num", "tcp.flags", "tcp.dstport", "tcp.srcport", "tcp.stream")
        return (*marks, *more, *(name for words in MESSAGES for name in words), *self._sieve.fields)

    def add(self, packets: Packets) -> None:
        """Take the remarks of a chunk."""
        rows = self._sieve.rows(packets)
        chosen = np.ones(len(packets), np.bool_)
        if rows is not None:
            chosen[:] = False
            chosen[rows] = True
        found: list[tuple[int, Remark]] = []
        for row, remark in self._remarks(packets):
            if chosen[row]:
                found.append((row, remark))
        first = packets.records.first
        for row, remark in sorted(found, key=lambda one: one[0]):
            if remark in self._counts or len(self._counts) < MAX_SUMMARIES:
                self._counts[remark] += 1
                self._first.setdefault(remark, first + row)

    def _remarks(self, packets: Packets) -> Iterator[tuple[int, Remark]]:
        for layer in packets.layers_of("tcp"):
            if not layer.is_quoted:
                yield from self._handshakes(layer)
        fast = set(packets.values("tcp.analysis.fast_retransmission").rows.tolist())
        fast |= set(packets.values("tcp.analysis.spurious_retransmission").rows.tolist())
        for name, severity, summary in ANALYSIS:
            remark = Remark(severity, "Sequence", "TCP", summary)
            for row in packets.values(f"tcp.analysis.{name}").rows.tolist():
                if name != "retransmission" or row not in fast:
                    yield row, remark
        rows, numbers = packets.values("tcp.analysis.duplicate_ack_num")
        for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
            yield row, Remark("note", "Sequence", "TCP", f"Duplicate ACK (#{number})")
        for names in MESSAGES:
            for row, text in _lines(packets, names):
                yield row, Remark("chat", "Sequence", "HTTP", text)
        for layer in packets.layers:
            if layer.walked is not None and not layer.is_quoted:
                for entry in layer.walked.malformed:
                    summary = "Malformed Packet (Exception occurred)"
                    yield int(layer.rows[entry]), Remark("error", "Malformed", _name(layer), summary)

    def _handshakes(self, layer: Layer) -> Iterator[tuple[int, Remark]]:
        """What the flags SYN, FIN and RST say."""
        flags = layer.uint(13, 1)
        numbers = stream_numbers(layer, "tcp.stream")
        marked: Rows = np.flatnonzero(((flags & (SYN | FIN | RST)) != 0) & layer.has(20))
        for entry in marked.tolist():
            row, mine = int(layer.rows[entry]), int(flags[entry])
            if mine & SYN:
                begin = int(layer.start[entry])
                at = begin if mine & ACK else begin + 2
                port = int.from_bytes(layer.data[at : at + 2].tobytes(), "big")
                what = "acknowledge (SYN+ACK)" if mine & ACK else "request (SYN)"
                yield row, Remark("chat", "Sequence", "TCP", f"Connection establish {what}: server port {port}")
            if mine & FIN:
                yield row, Remark("chat", "Sequence", "TCP", "Connection finish (FIN)")
                yield from self._closing(
                    row, int(numbers[entry]), int(layer.number(layer.start[entry : entry + 1], 4)[0])
                )
            if mine & RST:
                yield row, Remark("warn", "Sequence", "TCP", "Connection reset (RST)")

    def _closing(self, row: int, stream: int, ports: int) -> Iterator[tuple[int, Remark]]:
        """Of an end's first FIN, whether it is the connection's first."""
        ends = self._closed.setdefault(stream, [])
        if ports in ends or len(self._closed) > MAX_STREAMS:
            return
        ends.append(ports)
        what = "initiates" if len(ends) == 1 else "undergoes"
        yield row, Remark("note", "Sequence", "TCP", f"This frame {what} the connection closing")

    def text(self, width: int) -> Iterator[str]:
        """A table a severity."""
        for severity in self._shown:
            mine = [(remark, count) for remark, count in self._counts.items() if remark.severity == severity]
            if not mine:
                continue
            yield ""
            yield f"{SEVERITIES[severity]} ({sum(count for _, count in mine)})"
            yield "============="
            yield "   Frequency      Group           Protocol  Summary"
            for remark, count in mine:
                yield f"{count:12} {remark.group:>10} {remark.protocol:>18}  {remark.summary}"

    def document(self) -> dict[str, Any]:
        """As data, with the first frame of each remark."""
        rows = [
            {"severity": one.severity, "group": one.group, "protocol": one.protocol, "summary": one.summary}
            | {"count": count, "first_frame": self._first[one]}
            for severity in self._shown
            for one, count in self._counts.items()
            if one.severity == severity
        ]
        return {"report": "expert", "filter": self._sieve.text or None, "remarks": rows}


def _lines(packets: Packets, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The first lines of messages, a packet each that has one, as Wireshark shows them: with the line's end."""
    words: dict[int, list[str]] = {}
    for at, name in enumerate(names):
        rows, values = first_of_each(packets.values(name))
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            if at == 0 or row in words:
                words.setdefault(row, []).append(str(value))
    for row, mine in words.items():
        yield row, printable(" ".join(mine)) + "\\r\\n"


def _name(layer: Layer) -> str:
    column = layer.protocol.column
    return column if isinstance(column, str) and column else layer.protocol.name.upper()
