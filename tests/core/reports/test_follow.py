"""Following a stream: what sockets carried, what tshark shows, and what becomes of loss, disorder and lies."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echowire.core.captures.records import Records
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.tcp.header import HALF, WORD
from echowire.core.reports import follow
from echowire.core.reports.follow import Following, Piece, Reassembly, Segment
from echowire.core.reports.follow_report import Follow
from echowire.verbs.read import read
from tests.captures import needs_tshark
from tests.core.packets.tcp.traffic import ACK, FIN, PSH, RST, SERVER, SYN, ipv4, records, tcp, write_pcap
from tests.netns import why_not
from tests.recorded import read_all, two_hosts

needs_hosts = pytest.mark.skipif(bool(why_not()), reason=why_not() or "")

ISN = 0xFFFFFFF0
"""The client's first number: what it says soon wraps."""


class Talk:
    """Segments of one conversation made by hand, numbered from the first byte of each end's data."""

    def __init__(self, isn: Sequence[int] = (ISN, 5000), port: int = 1000) -> None:
        self._isn, self._port = isn, port
        self.segments: list[Segment] = []
        self.packets: list[bytes] = []
        self.say(0, -1, flags=SYN)
        self.say(1, -1, 0, flags=SYN | ACK)
        self.say(0, 0, 0)

    def say(self, end: int, at: int, acked: int | None = 0, data: bytes = b"", flags: int = ACK) -> None:
        """`data` from byte `at` on, and all before byte `acked` of the other end acknowledged."""
        sequence = (self._isn[end] + 1 + at) & WORD
        acknowledgment = 0 if acked is None or not flags & ACK else (self._isn[1 - end] + 1 + acked) & WORD
        number = len(self.segments) + 1
        self.segments.append(Segment(end, number, number, sequence, acknowledgment, flags, len(data), data))
        ports = (self._port, 80) if end == 0 else (80, self._port)
        body = tcp(*ports, sequence, acknowledgment, flags, payload=data)
        self.packets.append(ipv4(6, body) if end == 0 else ipv4(6, body, SERVER, b"\x0a\0\0\1"))

    def pieces(self) -> list[Piece]:
        reassembly = Reassembly()
        return [piece for segment in self.segments for piece in reassembly.feed(segment)]

    def said(self, end: int = 0) -> list[bytes | int]:
        """What is shown of an end: bytes, and how many are missing."""
        return [piece.missing or piece.data for piece in self.pieces() if piece.end == end]


def test_the_helper_makes_what_the_packets_say() -> None:
    talk = Talk()
    talk.say(0, 0, 0, b"question", ACK | PSH)
    talk.say(1, 0, 8, b"answer", ACK | PSH)
    following = Following("tcp", 0)
    pieces = list(following.feed(Dissector(following.fields).dissect(records(talk.packets))))
    assert [piece[:2] + piece[3:] for piece in pieces] == [piece[:2] + piece[3:] for piece in talk.pieces()]
    assert following.ends == [("10.0.0.1", 1000), ("10.0.0.2", 80)]


def test_what_comes_in_order_is_said_at_once_across_the_wrap() -> None:
    talk = Talk()
    for at in range(0, 40, 8):
        talk.say(0, at, data=b"%08d" % at)
    assert talk.said() == [b"%08d" % at for at in range(0, 40, 8)]


def test_what_comes_early_waits() -> None:
    talk = Talk()
    talk.say(0, 20, data=b"third")
    talk.say(0, 10, data=b"second one")
    assert talk.said() == []
    talk.say(0, 0, data=b"the first,")
    assert talk.said() == [b"the first,", b"second one", b"third"]
    assert [piece.frame for piece in talk.pieces()] == [6, 5, 4]


def test_what_comes_again_is_left_out_whatever_it_says_now() -> None:
    talk = Talk()
    talk.say(0, 0, data=b"original")
    talk.say(0, 0, data=b"DIFFERS!")
    talk.say(0, 4, data=b"xxxx and more")
    talk.say(0, 2, data=b"yyy")
    assert talk.said() == [b"original", b" and more"]


def test_of_two_that_wait_the_first_that_came_is_taken() -> None:
    talk = Talk()
    talk.say(0, 10, data=b"late but first")
    talk.say(0, 8, data=b"early but second")
    talk.say(0, 0, data=b"0123456789")
    assert b"".join(one for one in talk.said() if isinstance(one, bytes)) == b"0123456789late but first"


def test_what_was_acknowledged_and_never_seen_is_a_gap() -> None:
    talk = Talk()
    talk.say(0, 100, data=b"after")
    talk.say(1, 0, 50)
    assert talk.said() == []
    talk.say(1, 0, 100)
    assert talk.said() == [], "nothing of it is acknowledged"
    talk.say(1, 0, 101)
    assert talk.said() == [100, b"after"]
    talk.say(0, 0, data=b"too late")
    assert talk.said() == [100, b"after"]


def test_without_the_flag_there_is_no_acknowledgment() -> None:
    talk = Talk((100, 200))
    talk.say(0, 100, data=b"after")
    segment = talk.segments[-1]._replace(end=1, sequence=201, acknowledgment=5000, flags=RST, length=0, data=b"")
    talk.segments.append(segment)
    assert talk.said() == []


def test_data_in_a_syn_is_said() -> None:
    talk = Talk()
    talk.segments[0] = talk.segments[0]._replace(length=4, data=b"fast")
    talk.say(0, 4, data=b" open")
    assert talk.said() == [b"fast", b" open"]


def test_a_keep_alive_says_nothing_and_a_zero_window_probe_its_byte() -> None:
    talk = Talk()
    talk.say(0, 0, data=b"data")
    talk.say(0, 3)
    talk.say(0, 3, data=b"\0")
    talk.say(1, 0, 4)
    talk.say(0, 4, data=b"!")
    talk.say(0, 4, data=b"! and the rest")
    assert talk.said() == [b"data", b"!", b" and the rest"]


def test_after_its_own_end_a_side_still_hears_the_other() -> None:
    talk = Talk()
    talk.say(0, 0, data=b"all", flags=ACK | FIN)
    talk.say(1, 0, 4, b"one")
    talk.say(0, 4, 3)
    talk.say(1, 3, 4, b"two", ACK | FIN)
    assert (talk.said(0), talk.said(1)) == ([b"all"], [b"one", b"two"])


def test_a_reset_may_have_words() -> None:
    talk = Talk()
    talk.say(1, 0, 0, b"no such service", RST | ACK)
    assert talk.said(1) == [b"no such service"]


def test_what_was_cut_in_the_capture_is_shown_as_far_as_it_is_there() -> None:
    talk = Talk()
    talk.say(0, 0, data=b"whole")
    talk.say(0, 5, data=b"head")
    talk.segments[-1] = talk.segments[-1]._replace(length=100)
    talk.say(0, 105, data=b"next")
    assert talk.said() == [b"whole", b"head", b"next"]


def test_of_what_not_a_byte_was_captured_is_a_gap() -> None:
    talk = Talk()
    talk.say(0, 0)
    talk.segments[-1] = talk.segments[-1]._replace(length=100)
    talk.say(0, 100, data=b"next")
    assert talk.said() == []
    talk.say(1, 0, 104)
    assert talk.said() == [100, b"next"]


def test_what_waits_is_bounded_also_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_WAITING_BYTES", 1 << 20)
    reassembly, flood = Reassembly(), Segment(0, 1, 1, 0, 0, ACK, 1, b"x")
    list(reassembly.feed(flood))
    most = shown = 0
    for at in range(0, 1 << 14, 2):
        for piece in reassembly.feed(flood._replace(sequence=at + 10)):
            shown += bool(piece.data)
        most = max(most, len(reassembly._directions[0].waiting))
    assert shown > 1000
    assert most <= (1 << 20) // 256


@given(st.randoms(use_true_random=False), st.integers(0, WORD))
@settings(max_examples=60, deadline=None)
def test_disorder_and_repetition_change_nothing(rng: random.Random, isn: int) -> None:
    data = rng.randbytes(2000)
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(20))})
    parts = [*pairwise(cuts), *((min(pair), max(pair)) for pair in (rng.sample(cuts, 2) for _ in range(10)))]
    rng.shuffle(parts)
    talk = Talk((isn, isn + HALF & WORD))
    for begin, end in parts:
        talk.say(0, begin, data=data[begin:end])
    assert b"".join(one for one in talk.said() if isinstance(one, bytes)) == data


# What sockets carried.


def heard_and_followed(packets: Records) -> tuple[bytes, bytes]:
    """What each end said, put together from the packets."""
    following = Following("tcp", 0)
    said = [b"", b""]
    for piece in following.feed(Dissector(following.fields).dissect(packets)):
        assert not piece.missing
        said[piece.end] += piece.data
    return said[0], said[1]


def disordered(packets: Records, rng: random.Random) -> Records:
    """The same, as a worse path would have brought it: what an end sent in one go in any order, and some packets again,
    much later and with other bytes in them."""
    frames: list[bytes] = []
    every = [packets.data[at : at + size].tobytes() for at, size in zip(packets.start, packets.cap_len, strict=True)]
    for _, run in groupby(every, key=lambda frame: frame[26:30]):  # by IPv4's source
        together = list(run)
        rng.shuffle(together)
        frames += together
    long = [at for at, frame in enumerate(frames) if len(frame) > 1000]
    for at in sorted(rng.sample(long, len(long) // 4), reverse=True):
        frames.insert(rng.randrange(at + 1, len(frames) + 1), frames[at][:200] + bytes(len(frames[at]) - 200))
    return Records.of(frames, list(range(len(frames))), interfaces=packets.interfaces)


@needs_hosts
@pytest.mark.parametrize("loss", [0, 5])
def test_following_gives_what_the_sockets_carried(loss: int) -> None:
    rng = random.Random(loss)
    question, answer = rng.randbytes(60_000), rng.randbytes(200_000)
    heard: dict[str, bytes] = {}

    def ask(connection: socket.socket) -> None:
        for at in range(0, len(question), 7000):
            connection.sendall(question[at : at + 7000])
        connection.shutdown(socket.SHUT_WR)
        heard["client"] = read_all(connection)

    def serve(connection: socket.socket) -> None:
        heard["server"] = read_all(connection)
        connection.sendall(answer)

    with two_hosts() as hosts:
        if loss:
            hosts.client.nft(f"add rule inet test input meta l4proto tcp numgen random mod 100 < {loss} drop")
        packets = hosts.recorded(ask, serve)
    assert (heard["server"], heard["client"]) == (question, answer)
    assert heard_and_followed(packets) == (question, answer)
    assert heard_and_followed(disordered(packets, rng)) == (question, answer)


@needs_hosts
def test_what_came_before_a_reset_is_followed() -> None:
    heard: list[bytes] = []

    def ask(connection: socket.socket) -> None:
        connection.sendall(b"before the reset")
        heard.append(connection.recv(100))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve(connection: socket.socket) -> None:
        heard.append(connection.recv(100))
        connection.sendall(b"an answer")
        with pytest.raises(ConnectionResetError):
            connection.recv(100)

    with two_hosts() as hosts:
        packets = hosts.recorded(ask, serve)
    assert sorted(heard) == [b"an answer", b"before the reset"]
    assert heard_and_followed(packets) == (b"before the reset", b"an answer")


# What tshark shows.


def stories(seed: int) -> Iterator[Talk]:
    """Conversations with all that can happen to one."""
    rng = random.Random(seed)
    for number in range(12):
        talk = Talk((rng.randrange(1 << 32), rng.randrange(1 << 32)), 1000 + number)
        sent, acked = [0, 0], [0, 0]
        for _ in range(40):
            end = rng.randrange(2)
            what, size = rng.random(), rng.randrange(1, 12)
            at = sent[end]
            if what < 0.15:
                at = max(0, at - rng.randrange(20))
            elif what < 0.3:
                at += rng.randrange(20)
            if what > 0.7:
                acked[1 - end] = max(acked[1 - end], sent[1 - end] - rng.randrange(3))
                size = size if what > 0.85 else 0
            data = bytes(rng.randrange(97, 123) for _ in range(size))
            talk.say(end, at, acked[1 - end], data)
            sent[end] = max(sent[end], at + size)
        talk.say(0, sent[0], sent[1], flags=ACK | (FIN if rng.random() < 0.5 else RST))
        yield talk


@needs_tshark
@pytest.mark.parametrize("seed", range(4))
def test_tshark_shows_the_same(tmp_path: Path, seed: int) -> None:
    packets = [packet for talk in stories(seed) for packet in talk.packets]
    path = tmp_path / "stories.pcap"
    write_pcap(path, packets)
    names = [f"follow,tcp,{mode},{stream}" for stream in range(12) for mode in ("raw", "ascii", "hex")]
    words = [word for one in names for word in ("-z", one)]
    done = subprocess.run(["tshark", "-n", "-q", "-r", str(path), *words], capture_output=True, check=True, timeout=60)
    made = read(path).report(*names)
    assert sum(isinstance(one, Follow) and any(piece.missing for piece in one.pieces) for one in made), "no gap at all"
    for name, shown in zip(names, made, strict=True):
        assert "".join(f"{line}\n" for line in shown.text(80)) in done.stdout.decode(), name
