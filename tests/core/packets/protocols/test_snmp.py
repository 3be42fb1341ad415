"""SNMP: what is asked of which objects, in BER that may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from echowire.core.packets.protocols.snmp import oid_text
from echowire.core.packets.walk import MalformedError
from tests.core.packets.packets import answer, assert_as_tshark, assert_bounded, datagram, dissect


def element(tag: int, *contents: bytes) -> bytes:
    whole = b"".join(contents)
    size = bytes([len(whole)]) if len(whole) < 128 else b"\x82" + len(whole).to_bytes(2, "big")
    return bytes([tag]) + size + whole


def number(value: int) -> bytes:
    return element(2, value.to_bytes(4, "big", signed=True))


def binding(*oid: int) -> bytes:
    return element(0x30, element(6, bytes(oid)), element(5))


UPTIME = binding(0x2B, 6, 1, 2, 1, 1, 3, 0)
BIG = binding(0x2B, 6, 1, 4, 1, 0x82, 0x37, 0)


def message(kind: int, *bindings: bytes, version: int = 1, first: int = 0, second: int = 0) -> bytes:
    asked = element(0xA0 + kind, number(7), number(first), number(second), element(0x30, *bindings))
    return element(0x30, element(2, bytes([version])), element(4, b"public"), asked)


GLOBAL = element(0x30, number(1), number(1500), element(4, b"\4"), number(3))
SCOPED = element(0x30, element(4), element(4), element(0xA0, number(7), number(0), number(0), element(0x30)))
VERSION_3 = element(0x30, element(2, b"\3"), GLOBAL, element(4, element(0x30)), SCOPED)


def test_a_request() -> None:
    fields = ["snmp.version", "snmp.community", "snmp.data", "snmp.request_id", "snmp.name", "_ws.col.Info"]
    assert dissect([datagram(message(0, UPTIME, BIG), 161)], fields) == {
        "snmp.version": [["1"]],
        "snmp.community": [["public"]],
        "snmp.data": [["0"]],
        "snmp.request_id": [["7"]],
        "snmp.name": [["1.3.6.1.2.1.1.3.0", "1.3.6.1.4.1.311.0"]],
        "_ws.col.Info": [["get-request 1.3.6.1.2.1.1.3.0 1.3.6.1.4.1.311.0"]],
    }


@pytest.mark.parametrize(
    ("raw", "text"), [(b"\x2b", "1.3"), (b"\0", "0.0"), (b"\x78", "2.40"), (b"\x88\x37\3", "2.999.3")]
)
def test_object_identifiers(raw: bytes, text: str) -> None:
    assert oid_text(raw) == text


@pytest.mark.parametrize("raw", [b"", b"\x2b\x86", b"\x2b" + b"\xff" * 20 + b"\1"])
def test_object_identifiers_that_are_none(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        oid_text(raw)


def test_messages_are_as_tshark_has_them(tmp_path: Path) -> None:
    packets = [
        datagram(message(kind, UPTIME, BIG, version=version), 161) for kind in (0, 1, 3, 6) for version in (0, 1)
    ]
    packets += [answer(message(kind, UPTIME, first=2, second=1), 161) for kind in (2, 8)]
    packets += [
        datagram(message(5, UPTIME, second=20), 161),
        datagram(message(7, UPTIME), 162),
        datagram(VERSION_3, 161),
    ]
    assert_as_tshark(tmp_path, packets, "snmp")


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(datagram(message(0, UPTIME, BIG), 161), datagram(VERSION_3, 161))
