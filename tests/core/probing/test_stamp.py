"""STAMP packets byte for byte: RFC 8762's figures written out by hand, tshark's reading of them, and the reflector."""

from __future__ import annotations

import hashlib
import hmac
import random
import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.probing.stamp import (
    BASE_BYTES,
    DIRECT,
    SIGNED_BYTES,
    TWAMP_BYTES,
    Direct,
    ErrorEstimate,
    ReflectedPacket,
    SenderPacket,
    ns_of,
    ns_of_ntp,
    ntp_of,
    pack_error,
    pack_extension,
    pack_reflected,
    pack_sender,
    read_error,
    read_reflected,
    read_sender,
)
from echowire.core.probing.stamp_reflector import SESSIONS_REMEMBERED, Reflector

KEY = b"a key that both know"
NOW_NS = 1_700_000_000_123_456_789
TIMESTAMP = bytes.fromhex("e8fe6f80 1f9add38")
"""Of NOW_NS: 1,700,000,000 + 2,208,988,800 seconds, and 0.123456789 * 2**32 rounded up."""

ASKED = SenderPacket(0x01020304, int.from_bytes(TIMESTAMP, "big"), 0x8A55, 0xBEEF)

# RFC 8762 figures 2 and 4, RFC 8972 figures 1 and 2: a row a field.
SENDER_FIGURE = b"".join(
    (
        bytes.fromhex("01020304"),  # Sequence Number
        TIMESTAMP,
        bytes.fromhex("8a55"),  # Error Estimate: S, scale 10, multiplier 85
        bytes.fromhex("beef"),  # SSID
        bytes(28),
    )
)
SENDER_SIGNED_FIGURE = b"".join(
    (
        bytes.fromhex("01020304"),
        bytes(12),
        TIMESTAMP,
        bytes.fromhex("8a55"),
        bytes.fromhex("beef"),
        bytes(68),
    )
)
REFLECTED = ReflectedPacket(7, 0x1111111122222222, 0x0001, 0xBEEF, 0x3333333344444444, 0x01020304, 0x55, 0x8A55, 254)
REFLECTED_FIGURE = b"".join(
    (
        bytes.fromhex("00000007"),  # Sequence Number
        bytes.fromhex("1111111122222222"),  # Timestamp
        bytes.fromhex("0001"),  # Error Estimate
        bytes.fromhex("beef"),  # SSID
        bytes.fromhex("3333333344444444"),  # Receive Timestamp
        bytes.fromhex("01020304"),  # Session-Sender Sequence Number
        bytes.fromhex("0000000000000055"),  # Session-Sender Timestamp
        bytes.fromhex("8a55"),  # Session-Sender Error Estimate
        bytes(2),
        bytes([254]),  # Session-Sender TTL
        bytes(3),
    )
)
REFLECTED_SIGNED_FIGURE = b"".join(
    (
        bytes.fromhex("00000007"),
        bytes(12),
        bytes.fromhex("1111111122222222"),
        bytes.fromhex("0001"),
        bytes.fromhex("beef"),
        bytes(4),
        bytes.fromhex("3333333344444444"),
        bytes(8),
        bytes.fromhex("01020304"),
        bytes(12),
        bytes.fromhex("0000000000000055"),
        bytes.fromhex("8a55"),
        bytes(6),
        bytes([254]),
        bytes(15),
    )
)


def digest(data: bytes) -> bytes:
    return hmac.new(KEY, data, hashlib.sha256).digest()[:16]


def test_the_figures_of_the_rfcs() -> None:
    assert ntp_of(NOW_NS) == int.from_bytes(TIMESTAMP, "big")
    assert pack_sender(ASKED) == SENDER_FIGURE
    assert len(SENDER_FIGURE) == BASE_BYTES == 44
    assert pack_sender(ASKED, key=KEY) == SENDER_SIGNED_FIGURE + digest(SENDER_SIGNED_FIGURE)
    assert len(SENDER_SIGNED_FIGURE) + 16 == SIGNED_BYTES == 112
    assert pack_reflected(REFLECTED) == REFLECTED_FIGURE
    assert pack_reflected(REFLECTED, KEY) == REFLECTED_SIGNED_FIGURE + digest(REFLECTED_SIGNED_FIGURE)


def test_what_is_read_is_what_was_written() -> None:
    assert read_sender(SENDER_FIGURE) == ASKED
    assert read_sender(SENDER_SIGNED_FIGURE + digest(SENDER_SIGNED_FIGURE), KEY) == ASKED
    assert read_reflected(REFLECTED_FIGURE) == REFLECTED
    assert read_reflected(REFLECTED_SIGNED_FIGURE + digest(REFLECTED_SIGNED_FIGURE), KEY) == REFLECTED


@pytest.mark.parametrize("at", range(112))
def test_a_signed_packet_that_was_touched_is_none(at: int) -> None:
    packet = bytearray(pack_sender(ASKED, key=KEY))
    packet[at] ^= 1
    assert read_sender(bytes(packet), KEY) is None
    packet = bytearray(pack_reflected(REFLECTED, KEY))
    packet[at] ^= 1
    assert read_reflected(bytes(packet), KEY) is None


@pytest.mark.parametrize("size", range(113))
def test_a_packet_that_was_cut_is_none(size: int) -> None:
    assert (read_sender(SENDER_FIGURE[:size]) is None) == (size < TWAMP_BYTES)
    assert (read_reflected(REFLECTED_FIGURE[:size]) is None) == (size < TWAMP_BYTES)
    assert (read_sender(pack_sender(ASKED, key=KEY)[:size], KEY) is None) == (size < SIGNED_BYTES)
    assert read_sender(pack_sender(ASKED, key=KEY)[:size], b"another") is None


@given(st.binary(max_size=300))
def test_anything_may_come(data: bytes) -> None:
    for key in (None, KEY):
        read_sender(data, key)
        read_reflected(data, key)
        answer = Reflector(key=key).answer(data, "peer", 64, NOW_NS, NOW_NS)
        assert answer is None or len(answer) == len(data)


@given(st.integers(0, 2**63), st.integers(-(10**18), 10**18))
def test_a_timestamp_comes_back_in_its_era(time_ns: int, off_ns: int) -> None:
    assert ns_of_ntp(ntp_of(time_ns), time_ns + off_ns) == time_ns
    assert ns_of(ntp_of(time_ns), time_ns, ptp=False) == time_ns


def test_a_ptp_timestamp() -> None:
    assert ns_of(1_700_000_000 << 32 | 123_456_789, 0, ptp=True) == NOW_NS


@given(st.floats(1e-9, 1e6), st.booleans(), st.booleans())
def test_an_error_is_never_written_smaller_than_it_is(seconds: float, synchronised: bool, ptp: bool) -> None:
    found = read_error(pack_error(ErrorEstimate(synchronised, seconds, ptp)))
    assert found is not None
    assert (found.synchronised, found.ptp) == (synchronised, ptp)
    assert seconds <= found.seconds <= max(seconds * 1.02, 2**-32 + seconds)


def test_no_multiplier_no_packet() -> None:
    """RFC 4656 section 4.1.2: a multiplier of zero makes the packet corrupt."""
    assert read_error(0xFF00) is None
    assert read_sender(SENDER_FIGURE[:12] + b"\x8a\x00" + SENDER_FIGURE[14:]) is None


class TestReflector:
    """What is sent back."""

    def test_unauthenticated(self) -> None:
        answer = Reflector(lambda: ErrorEstimate(True, 0.001)).answer(SENDER_FIGURE, "a", 255, NOW_NS, NOW_NS + 5)
        assert answer is not None
        packet = read_reflected(answer)
        assert packet == ReflectedPacket(
            0, ntp_of(NOW_NS + 5), pack_error(ErrorEstimate(True, 0.001)), 0xBEEF, ntp_of(NOW_NS),
            ASKED.sequence, ASKED.timestamp, ASKED.error, 255,
        )  # fmt: skip
        assert len(answer) == len(SENDER_FIGURE)

    def test_authenticated(self) -> None:
        reflector = Reflector(key=KEY)
        answer = reflector.answer(pack_sender(ASKED, key=KEY, direct_sent=9), "a", 255, NOW_NS, NOW_NS)
        assert answer is not None
        packet = read_reflected(answer, KEY)
        assert packet is not None
        assert packet.direct == Direct(9, 1, 1)
        # The extensions' digest covers them: one that was touched is not believed.
        touched = bytearray(answer)
        touched[SIGNED_BYTES + 7] ^= 1
        packet = read_reflected(bytes(touched), KEY)
        assert packet is not None
        assert packet.direct is None

    def test_extensions_that_are_not_signed_are_dropped(self) -> None:
        signed = pack_sender(ASKED, key=KEY)
        unsigned = pack_extension(5, DIRECT.pack(1, 0, 0))
        reflector = Reflector(key=KEY)
        assert reflector.answer(signed + unsigned, "a", 255, NOW_NS, NOW_NS) is None
        good = pack_sender(ASKED, key=KEY, direct_sent=1)
        touched = bytearray(good)
        touched[SIGNED_BYTES + 7] ^= 1
        assert reflector.answer(bytes(touched), "a", 255, NOW_NS, NOW_NS) is None
        # Padding alone needs no digest (RFC 8972 section 4.8), and may follow it.
        assert reflector.answer(signed + pack_extension(1, bytes(8)), "a", 255, NOW_NS, NOW_NS) is not None
        assert reflector.answer(good + pack_extension(1, bytes(8)), "a", 255, NOW_NS, NOW_NS) is not None
        assert reflector.answer(good + unsigned, "a", 255, NOW_NS, NOW_NS) is None

    def test_stateful_numbers_are_its_own_and_each_sessions(self) -> None:
        reflector = Reflector()
        numbers = []
        for peer, session, sequence in (("a", 1, 5), ("a", 1, 9), ("a", 2, 5), ("b", 1, 5), ("a", 1, 10)):
            asked = SenderPacket(sequence, ASKED.timestamp, ASKED.error, session)
            answer = reflector.answer(pack_sender(asked, direct_sent=50), peer, 255, NOW_NS, NOW_NS)
            packet = None if answer is None else read_reflected(answer)
            assert packet is not None
            assert packet.direct is not None
            numbers.append((packet.sequence, packet.sender_sequence, packet.direct[1:]))
        assert numbers == [(0, 5, (1, 1)), (1, 9, (2, 2)), (0, 5, (1, 1)), (0, 5, (1, 1)), (2, 10, (3, 3))]

    def test_stateless_numbers_are_the_senders(self) -> None:
        reflector = Reflector(stateful=False)
        answer = reflector.answer(pack_sender(ASKED, direct_sent=50), "a", 255, NOW_NS, NOW_NS)
        packet = None if answer is None else read_reflected(answer)
        assert packet is not None
        assert (packet.sequence, packet.direct, reflector.sessions) == (ASKED.sequence, None, 0)

    def test_a_twamp_light_sender_is_answered_in_its_own_size(self) -> None:
        answer = Reflector().answer(SENDER_FIGURE[:TWAMP_BYTES], "a", 255, NOW_NS, NOW_NS)
        assert answer is not None
        assert len(answer) == TWAMP_BYTES
        assert answer[24:28] == SENDER_FIGURE[:4]

    @pytest.mark.parametrize(
        ("sent", "back"),
        [
            (pack_extension(1, b"padding!"), b"\x00\x01\x00\x08padding!"),
            (pack_extension(2, b"\0\0\0\0"), b"\x80\x02\x00\x04\0\0\0\0"),
            (pack_extension(200, b"abcd", 0), b"\x80\xc8\x00\x04abcd"),
            (pack_extension(5, DIRECT.pack(77, 0, 0)), b"\x00\x05\x00\x0c" + DIRECT.pack(77, 1, 1)),
            (pack_extension(5, b"short"), b"\x40\x05\x00\x05short"),
            (b"\x80\x05\x00\xffno more", b"\x40\x05\x00\xffno more"),
            (b"\x80\x05", b"\x80\x05"),
            (pack_extension(8, bytes(16)), b"\x80\x08\x00\x10" + bytes(16)),
        ],
    )
    def test_extensions(self, sent: bytes, back: bytes) -> None:
        """RFC 8972 section 4: what is known is cleared of U, what is malformed gets M, the rest keeps U."""
        answer = Reflector().answer(SENDER_FIGURE + sent, "a", 255, NOW_NS, NOW_NS)
        assert answer is not None
        assert answer[BASE_BYTES:] == back

    def test_a_million_sessions_are_not_remembered(self) -> None:
        reflector = Reflector()
        packet = bytearray(SENDER_FIGURE)

        def flood(begin: int, end: int) -> None:
            for number in range(begin, end):
                packet[14:16] = (number & 0xFFFF).to_bytes(2, "big")
                assert reflector.answer(bytes(packet), ("10.0.0.1", number >> 16), 255, NOW_NS, NOW_NS)

        flood(0, 2 * SESSIONS_REMEMBERED)
        tracemalloc.start()
        try:
            flood(2 * SESSIONS_REMEMBERED, 3 * SESSIONS_REMEMBERED)
            first, _ = tracemalloc.get_traced_memory()
            flood(3 * SESSIONS_REMEMBERED, 5 * SESSIONS_REMEMBERED)
            second, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert reflector.sessions == SESSIONS_REMEMBERED
        assert second - first < 100_000

    def test_random_datagrams(self) -> None:
        """Those that are long enough and have a multiplier are test packets, whatever else is in them."""
        reflector, signed, draw = Reflector(), Reflector(key=KEY), random.Random(8762)
        for _ in range(20_000):
            data = draw.randbytes(draw.randrange(150))
            answer = reflector.answer(data, "a", 255, NOW_NS, NOW_NS)
            assert (answer is not None) == (len(data) >= TWAMP_BYTES and data[13] != 0)
            assert signed.answer(data, "a", 255, NOW_NS, NOW_NS) is None


def pcap(packets: list[tuple[int, int, bytes]]) -> bytes:
    """A capture of UDP packets over IPv4: source port, destination port, data."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for source, destination, data in packets:
        udp = struct.pack(">HHHH", source, destination, 8 + len(data), 0) + data
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
        out += struct.pack("<IIII", 0, 0, len(ip + udp), len(ip + udp)) + ip + udp
    return out


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_the_same(tmp_path: Path) -> None:
    """Its dissector is TWAMP's, which has the same fields in the same places, the session identifier aside."""
    asked = SenderPacket(5, ntp_of(NOW_NS), pack_error(ErrorEstimate(True, 0.001)), 0)
    answer = Reflector(lambda: ErrorEstimate(True, 0.002)).answer(
        pack_sender(asked), "a", 200, NOW_NS + 1000, NOW_NS + 2000
    )
    assert answer is not None
    file = tmp_path / "stamp.pcap"
    file.write_bytes(pcap([(5000, 862, pack_sender(asked)), (862, 5000, answer)]))
    fields = (
        *("twamp.test.seq_number", "twamp.test.timestamp", "twamp.test.error_estimate.multiplier"),
        *("twamp.test.error_estimate.scale", "twamp.test.error_estimate.s", "twamp.test.sender_seq_number"),
        *("twamp.test.receive_timestamp", "twamp.test.sender_timestamp", "twamp.test.sender_ttl"),
    )
    done = subprocess.run(
        [
            *("tshark", "-r", str(file), "-d", "udp.port==862,twamp.test", "-T", "fields"),
            *(word for field in fields for word in ("-e", field)),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    at, zero = "Nov 14, 2023 22:13:20.12345", "Jan  1, 1970 00:00:00.000000000 UTC"
    # A field that an answer has twice, of its own clock's error and of the sender's, is there twice.
    assert rows == [
        ["5", f"{at}6789 UTC", "132,0", "15,0", "1,0", "0", zero, zero, "0"],
        ["0", f"{at}8789 UTC", "132,132", "16,15", "1,1", "5", f"{at}7789 UTC", f"{at}6789 UTC", "200"],
    ]
