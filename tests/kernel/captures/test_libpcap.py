"""Capture filters: libpcap's programs, and what is changed in them for cooked packets."""

from __future__ import annotations

import struct
import subprocess

import pytest

from echowire.errors import UsageError
from echowire.kernel.captures import libpcap
from echowire.kernel.captures.libpcap import compile_filter
from tests.peers import needs, needs_root

SKF_AD_OFF = 0x1_0000_0000 - 0x1000


def instructions(program: bytes) -> list[tuple[int, ...]]:
    return list(struct.iter_unpack("=HBBI", program))


@needs("tcpdump")
@pytest.mark.parametrize("text", ["tcp port 80", "ip6 and udp", "host 10.0.0.1 or net 192.168.0.0/16", "greater 100"])
def test_programs_are_tcpdumps(text: str) -> None:
    done = subprocess.run(["tcpdump", "-ddd", "-y", "EN10MB", "-s", "262144", text], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"tcpdump may not compile here: {done.stderr.strip()}")
    _, *lines = done.stdout.splitlines()
    assert instructions(compile_filter(text, 1, 262_144, "lo")) == [tuple(map(int, line.split())) for line in lines]


def test_the_snapshot_length_is_what_it_answers() -> None:
    assert [one[3] for one in instructions(compile_filter("ip", 1, 77, "lo")) if one[0] == 0x06] == [77, 0]


def test_cooked_packets_have_no_header_for_the_kernel() -> None:
    program = instructions(compile_filter("udp dst port 53", 276, 1000, "any"))
    assert (0x28, 0, 0, SKF_AD_OFF) in program  # the protocol
    assert (0x30, 0, 0, 9) in program  # the IPv4 header's, from its own beginning
    assert (0xB1, 0, 0, 0) in program  # and its length


@needs_root
def test_a_vlan_is_asked_of_the_kernel() -> None:
    assert any(one[3] >= SKF_AD_OFF for one in instructions(compile_filter("vlan 5", 1, 1000, "lo")))


@pytest.mark.parametrize("text", ["tcp prot 3", "(", "host no.such.name.invalid", "port 99999", "vlan"])
def test_a_wrong_filter_is_libpcaps_message_on_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^capture filter ") as raised:
        compile_filter(text, 276 if text == "vlan" else 1, 1000, "nope0")
        compile_filter(text + " foo", 1, 1000, "nope0")
    assert "\n" not in str(raised.value)


def test_without_libpcap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpcap, "NAMES", ("libnothere.so.9",))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(UsageError, match=r"libpcap, which is not here; install it \(apt install libpcap0\.8"):
        compile_filter("ip", 1, 1000, "lo")
