"""The picture of a conversation: of real ones, recorded between two hosts, and of segments made by hand."""

from __future__ import annotations

import socket

import pytest

from echowire.core.packets.dissect import Dissector
from echowire.core.packets.tcp.header import ACK, FIN, RST, SYN
from echowire.core.reports.follow import Following
from echowire.core.reports.tcp.ladder import Ladder, lines
from echowire.core.reports.tcp.record import Segment, TcpRecord
from tests.netns import why_not
from tests.recorded import read_all, two_hosts

needs_hosts = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")

QUESTION, ANSWER = bytes(range(256)) * 40, b"answer" * 7000


def segment(end: int, flags: int, seq: int, ack: int, length: int = 0, *, at: int = 0, window: int = 1000) -> Segment:
    return Segment(end, at + 1, at * 1000, seq, ack, flags, length, window, False)


@needs_hosts
def test_a_conversation_has_its_calls_and_states_and_its_bytes_are_those_of_the_sockets() -> None:
    heard: list[bytes] = []

    def ask(connection: socket.socket) -> None:
        connection.sendall(QUESTION)
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    def serve(connection: socket.socket) -> None:
        heard.append(read_all(connection))
        connection.sendall(ANSWER)

    with two_hosts() as hosts:
        records = hosts.recorded(ask, serve)
    record, following = TcpRecord(0), Following("tcp", 0)
    packets = Dissector([*record.fields, *following.fields]).dissect(records)
    record.add(packets)
    said = {0: b"", 1: b""}
    for piece in following.feed(packets):
        assert not piece.missing
        said[piece.end] += piece.data
    assert [said[0], said[1]] == heard == [QUESTION, ANSWER]

    arrows = Ladder(record.segments()).arrows
    client = [name for one in arrows for name in one.calls[0]]
    server = [name for one in arrows for name in one.calls[1]]
    assert client[:3] == ["connect", "connect returns", "send"]
    assert server[:2] == ["listen", "accept"]
    assert {"recv", "send", "shutdown or close"} <= set(server)
    assert arrows[0].states == ("SYN-SENT", "LISTEN")
    assert arrows[-1].states == ("TIME-WAIT", "CLOSED")
    states = {one.states[0] for one in arrows}
    assert {"SYN-SENT", "ESTAB", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"} <= states
    assert sum(one.length for one in arrows) == len(QUESTION) + len(ANSWER)


def test_like_segments_are_one_arrow_and_what_is_sent_again_is_marked() -> None:
    shake = [segment(0, SYN, 0, 0), segment(1, SYN | ACK, 0, 1), segment(0, ACK, 1, 1)]
    data = [segment(0, ACK, 1 + 100 * at, 1, 100, at=at) for at in range(5)]
    again = segment(0, ACK, 201, 1, 100)
    ahead = segment(0, ACK, 601, 1, 100)
    closed = segment(1, ACK, 1, 701, window=0)
    arrows = Ladder([*shake, *data, again, ahead, closed]).arrows
    assert [(one.count, one.length, one.mark) for one in arrows[3:]] == [
        (5, 500, ""),
        (1, 100, "sent again"),
        (1, 100, "gap before"),
        (1, 0, "zero window"),
    ]


def test_a_refused_connection_is_told_as_such() -> None:
    arrows = Ladder([segment(0, SYN, 0, 0), segment(1, RST | ACK, 0, 1, window=0)]).arrows
    assert arrows[-1].calls == (["ECONNREFUSED"], ["nobody listens"])
    assert arrows[-1].states == ("CLOSED", "CLOSED")


def test_both_may_close_at_once() -> None:
    both = [segment(0, FIN | ACK, 1, 1), segment(1, FIN | ACK, 1, 1), segment(0, ACK, 2, 2), segment(1, ACK, 2, 2)]
    assert Ladder(both).arrows[-1].states[0] in ("TIME-WAIT", "CLOSED")


@pytest.mark.parametrize("width", [1, 20, 40, 79, 80, 120, 300])
def test_the_ladder_fits_its_terminal(width: int) -> None:
    shake = [segment(0, SYN, 0, 0), segment(1, SYN | ACK, 0, 1), segment(0, ACK, 1, 1)]
    drawn = [*lines(Ladder(shake).arrows, width)][1:]
    assert len(drawn) == 6
    assert max(map(len, drawn)) <= width
    assert not [*lines([], width)][1:]
