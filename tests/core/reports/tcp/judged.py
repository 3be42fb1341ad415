"""What tests of verdicts share: the verdict of recorded packets, checked for what holds for any, and plain talks."""

from __future__ import annotations

import socket

from echowire.core.captures.records import Records
from echowire.core.packets.dissect import Dissector
from echowire.core.reports.tcp.record import Segment, TcpRecord
from echowire.core.reports.tcp.verdict import Verdict, judge
from tests.recorded import Hosts, Talk, read_all

MEGABYTE = bytes(1 << 20)
EXPLAINED = 0.9


def record_of(records: Records) -> TcpRecord:
    """The first conversation."""
    record = TcpRecord(0)
    record.add(Dissector(record.fields).dissect(records))
    return record


def segments_of(records: Records) -> list[Segment]:
    """Its segments."""
    return record_of(records).segments()


def verdict_of(records: Records) -> Verdict:
    """Its verdict. Whatever it is, the spans are the whole time, and their causes are known."""
    record = record_of(records)
    found = judge(record)
    assert found is not None
    segments = record.segments()
    assert sum(found.totals.values()) == segments[-1].time_ns - segments[0].time_ns
    for before, after in zip(found.spans, found.spans[1:], strict=False):
        assert before.end_ns == after.start_ns
    assert found.explained >= EXPLAINED
    return found


def share(found: Verdict, *causes: str) -> float:
    """Of the time, what these causes took."""
    return sum(found.totals.get(cause, 0) for cause in causes) / sum(found.totals.values())


def without_offload(hosts: Hosts) -> None:
    """Segments as they are on a wire, one a packet: what is dropped is one of them."""
    for host in (hosts.client, hosts.server):
        host.ip(f"link set dev {hosts.device} gso_max_segs 1")


def sends(*parts: bytes) -> Talk:
    """One that sends."""

    def talk(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


def reads(connection: socket.socket) -> None:
    """Until the peer has shut down."""
    read_all(connection)
