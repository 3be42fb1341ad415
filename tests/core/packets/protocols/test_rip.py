"""RIP and RIPng: routes, passwords and digests."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from tests.core.packets.packets import assert_as_tshark, assert_bounded, datagram, dissect, tree_of

ROUTE = pack(">HHIIII", 2, 5, 0x0A000000, 0xFF000000, 0x01020304, 3)
DEFAULT = pack(">HHIIII", 0, 0, 0, 0, 0, 16)
PASSWORD = pack(">HH", 0xFFFF, 2) + b"secret".ljust(16, b"\0")
DIGEST = pack(">HHHBBIII", 0xFFFF, 3, 44, 1, 16, 77, 0, 0)
PREFIX = bytes.fromhex("20010db8000000010000000000000000")


def rip(*entries: bytes, command: int = 2, version: int = 2) -> bytes:
    return datagram(bytes([command, version, 0, 0]) + b"".join(entries), 520, 520)


def ripng(*entries: bytes, command: int = 2) -> bytes:
    return datagram(bytes([command, 1, 0, 0]) + b"".join(entries), 521, 521)


def test_routes() -> None:
    fields = ["rip.command", "rip.version", "rip.ip", "rip.netmask", "rip.next_hop", "rip.metric", "_ws.col.Protocol"]
    found = dissect([rip(ROUTE, DEFAULT), rip(ROUTE, version=1)], fields)
    assert found["rip.command"] == [["2"], ["2"]]
    assert found["rip.ip"] == [["10.0.0.0"], ["10.0.0.0"]]
    assert found["rip.netmask"] == [["255.0.0.0", "0.0.0.0"], []]
    assert found["rip.metric"] == [["3", "16"], ["3"]]
    assert found["_ws.col.Protocol"] == [["RIPv2"], ["RIPv1"]]
    assert "  IP Address: 10.0.0.0, Metric: 3" in tree_of(rip(ROUTE))


def test_a_digest_of_any_size_stands_behind_the_routes() -> None:
    """tshark shows sixteen bytes of it, whatever its size (RFC 4822 has up to 64)."""
    behind = b"\xff\xff\0\1" + bytes(range(20))
    found = dissect(
        [rip(pack(">HHHBBIII", 0xFFFF, 3, 44, 1, 20, 77, 0, 0), ROUTE, behind)], ["rip.authentication_data"]
    )
    assert found["rip.authentication_data"] == [[bytes(range(20)).hex()]]


def test_all_kinds_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [rip(ROUTE, DEFAULT, command=command, version=version) for command in range(7) for version in (1, 2)]
    packets += [rip(PASSWORD, ROUTE), rip(pack(">HHIIII", 7, 5, 1, 2, 3, 4), ROUTE)]
    packets += [rip(DIGEST, ROUTE, b"\xff\xff\0\1" + bytes(16))]
    packets += [ripng(PREFIX + b"\0\7\x40\2", bytes(18) + b"\0\xff", command=command) for command in (1, 2, 3)]
    # tshark takes the digest for a route of an unknown family, too.
    assert_as_tshark(tmp_path, packets, "rip", "ripng", but={"rip.unknown_address_family"})


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(rip(DIGEST, ROUTE, b"\xff\xff\0\1" + bytes(16)), ripng(PREFIX + b"\0\7\x40\2"))
