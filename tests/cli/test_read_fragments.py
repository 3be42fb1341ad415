"""`echowire read -o ip.defragment:TRUE`: what a datagram in fragments carries, where tshark has it."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

import echowire as public
from tests.captures import needs_tshark, udp
from tests.commands import run_command as echowire
from tests.core.packets.tcp.traffic import CLIENT, SERVER, write_pcap

QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001")


def fragment(payload: bytes, offset: int, *, more: bool) -> bytes:
    flags = offset // 8 | (0x2000 if more else 0)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 77, flags, 64, 17, 0)
    return head + CLIENT + SERVER + payload


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A DNS query in two fragments, the second of which comes first."""
    datagram = udp(5000, 53, QUERY)
    packets = [fragment(datagram[16:], 16, more=False), fragment(datagram[:16], 0, more=True)]
    write_pcap(tmp_path / "a.pcap", packets)
    return tmp_path / "a.pcap"


FIELDS = ("frame.number", "udp.srcport", "dns.qry.name", "ip.fragment.count", "ip.reassembled.length")
WORDS = ("-T", "fields", *(word for name in FIELDS for word in ("-e", name)))


@needs_tshark
@pytest.mark.parametrize("value", ["TRUE", "FALSE"])
def test_fields_are_tsharks(file: Path, value: str) -> None:
    words = ["-o", f"ip.defragment:{value}", *WORDS]
    theirs = subprocess.run(["tshark", "-n", "-r", file, *words], capture_output=True, check=True, timeout=60)
    assert echowire("read", file, *words).out == theirs.stdout.decode()


def test_list_and_details_show_it_where_it_is_complete(file: Path) -> None:
    joined = ("-o", "ip.defragment:TRUE")
    lines = echowire("read", file, *joined).out.splitlines()
    assert "Fragmented IP protocol (proto=UDP 17, off=16, ID=004d)" in lines[0]
    assert lines[1].endswith("DNS 36 Standard query 0x1234 A example.com")
    details = echowire("read", file, "-V", *joined).out
    assert "[Fragment count: 2]" in details
    assert "Name: example.com" in details


def test_without_it_the_first_fragment_says_what_it_has(file: Path) -> None:
    assert echowire("read", file, *WORDS).out == "1\t\t\t\t\n2\t5000\t\t\t\n"
    assert public.read(file, defragment=True).filter("dns").frame("frame.number")["frame.number"].to_list() == [2]


@pytest.mark.parametrize("preference", ["tcp.desegment:TRUE", "ip.defragment", "ip.defragment:yes"])
def test_another_preference_is_refused(file: Path, preference: str) -> None:
    ran = echowire("read", file, "-o", preference)
    assert (ran.status, ran.out) == (2, "")
    assert "ip.defragment" in ran.err
