"""Reports of conversations and of endpoints, in the layout of `tshark -z conv,KIND` and `-z endpoints,KIND`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from echowire.core.packets.dissect import Packets
from echowire.core.reports.base import Sieve, Span
from echowire.core.reports.conversations import Conversations, Kind

RULE = "=" * 80
CONVERSATION_HEADS = (
    "|       <-      | |       ->      | |     Total     |    Relative    |   Duration   |",
    "| Frames  Bytes | | Frames  Bytes | | Frames  Bytes |      Start     |              |",
)
ENDPOINT_HEAD = "Packets  | |  Bytes  | | Tx Packets | | Tx Bytes | | Rx Packets | | Rx Bytes |"
UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class _Counted:
    """What both have: the counts, the filter, and when the capture began."""

    def __init__(self, kind: Kind, filter_text: str) -> None:
        self.kind = kind
        self._sieve = Sieve(filter_text)
        self._counts = Conversations(kind)
        self._span = Span()

    @property
    def fields(self) -> Sequence[str]:
        """The fields that a reading needs."""
        return (*self.kind.fields, *self._sieve.fields)

    def add(self, packets: Packets) -> None:
        """Count a chunk."""
        self._span.add(packets)
        self._counts.add(packets, self._sieve.rows(packets))

    def _begin(self, what: str) -> Iterator[str]:
        yield RULE
        yield f"{self.kind.title} {what}"
        yield f"Filter:{self._sieve.text or '<No Filter>'}"

    def _head(self, what: str) -> dict[str, Any]:
        return {"report": what, "kind": self.kind.name, "filter": self._sieve.text or None}


class ConversationReport(_Counted):
    """Who talked to whom."""

    def text(self, width: int) -> Iterator[str]:
        """A line a conversation, the most frames first."""
        size = 26 if self.kind.has_ports else 20
        yield from self._begin("Conversations")
        for head in CONVERSATION_HEADS:
            yield " " * (2 * size + 7) + head
        for row in self._counts.conversations():
            ends = (self._end(row, "a"), self._end(row, "b"))
            counts = (
                f"{row['frames_b_to_a']:6} {amount(row['bytes_b_to_a']):<9}  "
                f"{row['frames_a_to_b']:6} {amount(row['bytes_a_to_b']):<9}  "
                f"{row['frames']:6} {amount(row['bytes']):<9}"
            )
            start, stop = (self._span.since(row["start_ns"] + passed) for passed in (0, row["duration_ns"]))
            times = f"{start:14.9f}   {stop - start:12.4f}"
            yield f"{ends[0]:<{size}} <-> {ends[1]:<{size}}  {counts}  {times}"
        yield RULE

    def _end(self, row: dict[str, Any], end: str) -> str:
        return f"{row[end]}:{row[f'{end}_port']}" if self.kind.has_ports else str(row[end])

    def document(self) -> dict[str, Any]:
        """As data: a row has ports and a stream where the kind has them."""
        rows = []
        for row in self._counts.conversations():
            if not self.kind.has_ports:
                del row["a_port"], row["b_port"]
            if not self.kind.stream:
                del row["stream"]
            row["start_s"] = self._span.since(row["start_ns"])
            rows.append(row)
        return self._head("conversations") | {"conversations": rows}


class EndpointReport(_Counted):
    """Who sent and received how much."""

    def text(self, width: int) -> Iterator[str]:
        """A line an endpoint, the most frames first."""
        has_ports = self.kind.has_ports
        yield from self._begin("Endpoints")
        yield " " * 23 + "|  " + ("Port  ||  " if has_ports else "") + ENDPOINT_HEAD
        for row in self._counts.endpoints():
            port = f"{row['port']:>5}     " if has_ports else ""
            yield (
                f"{row['address']:<20}      {port}{row['frames']:6}     {row['bytes']:9}     {row['frames_sent']:6}"
                f"       {row['bytes_sent']:9}      {row['frames_received']:6}       {row['bytes_received']:9}   "
            )
        yield RULE

    def document(self) -> dict[str, Any]:
        """As data: a row has a port where the kind has them."""
        rows = self._counts.endpoints()
        if not self.kind.has_ports:
            for row in rows:
                del row["port"]
        return self._head("endpoints") | {"endpoints": rows}


def amount(size: int) -> str:
    """Bytes as tshark's table has them: in a larger unit from ten of it up, rounded down."""
    for one, unit in UNITS if size >= 10_000 else ():
        if size >= 10 * one:
            return f"{size // one} {unit}"
    return f"{size} bytes"
