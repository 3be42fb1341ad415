"""Syslog: priorities, and the parts of what is said."""

from __future__ import annotations

from pathlib import Path

from tests.core.packets.packets import assert_as_tshark, assert_bounded, datagram, dissect, tree_of

OLD = b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed"
NEW = b"<165>1 2003-10-11T22:14:15.003Z host.example.com evntslog 42 ID47 - An event"
MESSAGES = (
    OLD,
    NEW,
    b"<5>plain\0",
    b"no priority",
    b"<999>beyond",
    b"<>x",
    b"<191>Jan  1 00:00:00 h tag[7]: m",
)


def test_both_forms() -> None:
    fields = ["syslog.facility", "syslog.level", "syslog.hostname", "syslog.procid", "_ws.col.Info"]
    assert dissect([datagram(OLD, 514), datagram(NEW, 514)], fields) == {
        "syslog.facility": [["4"], ["20"]],
        "syslog.level": [["2"], ["5"]],
        "syslog.hostname": [["mymachine"], ["host.example.com"]],
        "syslog.procid": [["su"], ["42"]],
        "_ws.col.Info": [[f"AUTH.CRIT: {OLD[4:].decode()}"], [f"LOCAL4.NOTICE: {NEW[5:].decode()}"]],
    }
    assert "  00 0010 0... = Facility: AUTH - security/authorization messages (4)" in tree_of(datagram(OLD, 514))


def test_messages_are_as_tshark_has_them(tmp_path: Path) -> None:
    assert_as_tshark(tmp_path, [datagram(one, 514) for one in MESSAGES], "syslog")


def test_cut_and_damaged_messages_are_read() -> None:
    assert_bounded(datagram(OLD, 514), datagram(NEW, 514), datagram(b"<12", 514))
