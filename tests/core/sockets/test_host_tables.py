"""The tables beside the sockets, as bytes and lines made by hand: whole, cut at every byte, and damaged."""

from __future__ import annotations

import struct

import pytest

from echowire.core.sockets import counter_meanings, counters, memberships, rtnetlink
from echowire.core.sockets.netlink import attribute, request

# --- counters --------------------------------------------------------------------------------------------------------

SNMP = ["Ip: Forwarding DefaultTTL InReceives\n", "Ip: 1 64 1234\n", "Tcp: MaxConn\n", "Tcp: -1\n"]


def test_names_and_values_are_joined() -> None:
    assert counters.parse_pairs(SNMP) == {"IpForwarding": 1, "IpDefaultTTL": 64, "IpInReceives": 1234, "TcpMaxConn": -1}
    assert counters.parse_pairs([]) == counters.parse_pairs(["Ip: A\n", "Tcp: 1\n", "nothing"]) == {}
    assert counters.parse_lines(["Ip6InReceives  \t 7\n", "wrong\n", "Ip6X y\n"]) == {"Ip6InReceives": 7}


def test_changes_since_the_last_look() -> None:
    first = counters.changes({"IpInReceives": 3, "IpForwarding": 1}, None)
    assert [(one.change, one.has_moved) for one in first] == [(None, True), (None, True)]
    [risen, fallen, gauge, new] = counters.changes(
        {"IpInReceives": 5, "TcpInErrs": 2, "TcpCurrEstab": 1, "UdpNoPorts": 4},
        {"IpInReceives": 3, "TcpInErrs": 9, "TcpCurrEstab": 3},
    )
    assert (risen.change, fallen.change, gauge.change, new.change) == (2, 2, -2, 4)
    assert risen.meaning == "packets received" and risen.trouble == ""
    assert new.trouble.startswith("somebody calls a port") and gauge.trouble == ""


def test_every_trouble_is_of_a_counter_that_has_a_meaning() -> None:
    assert [name for name in counter_meanings.TROUBLES if not counter_meanings.meaning_of(name)] == []
    assert counter_meanings.meaning_of("Udp6RcvbufErrors") == counter_meanings.MEANINGS["UdpRcvbufErrors"]
    assert counter_meanings.meaning_of("TcpExtSomethingNew") == ""


# --- memberships -----------------------------------------------------------------------------------------------------

IGMP = [
    "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n",
    "2\teth0      :     1      V3\n",
    f"\t\t\t\t{int.from_bytes(bytes([239, 1, 2, 3]), 'little'):08X}     3 0:00000000\t\t0\n",
]


def test_the_groups_of_both_families() -> None:
    [four] = memberships.parse_igmp(IGMP)
    assert (four.interface, four.index, four.group, four.users, four.version) == ("eth0", 2, "239.1.2.3", 3, "IGMPv3")
    [six] = memberships.parse_igmp6(["2    eth0            ff0200000000000000000001ff000002     1 00000004 0\n"])
    assert (six.group, six.purpose) == ("ff02::1:ff00:2", "neighbour discovery")
    [link] = memberships.parse_dev_mcast(["2    eth0            1     0     01005e000001\n"])
    assert (link.group, link.family) == ("01:00:5e:00:00:01", 0)
    found = memberships.parse_sources(
        ["Idx Device MCA SRC INC EXC\n", "  2   eth0 0xe8010203 0x0a000001      1      0\n"]
    )
    assert found == {(2, "232.1.2.3"): [memberships.SourceCount("10.0.0.1", 1, 0)]}


@pytest.mark.parametrize("lines", [[], ["\n"], ["x"], ["\t\t E0000001 1\n"], ["1 lo\n"], IGMP[:2]])
def test_lines_that_are_none_are_passed_over(lines: list[str]) -> None:
    assert list(memberships.parse_igmp(lines)) == list(memberships.parse_igmp6(lines)) == []
    assert memberships.parse_sources(lines) == {}


# --- rtnetlink -------------------------------------------------------------------------------------------------------


def _route(*attributes: bytes, family: int = 2, bits: int = 16, kind: int = 1) -> bytes:
    body = struct.pack("=BBBBBBBBI", family, bits, 0, 0, 254, 3, 0, kind, 0)
    return request(rtnetlink.RTM_NEWROUTE, body + b"".join(attributes))


HOPS = b"".join(
    struct.pack("=HBBi", 16, 0, weight, interface) + attribute(5, bytes([10, 0, 0, interface]))
    for weight, interface in ((1, 2), (0, 3))
)
MULTIPATH = _route(attribute(1, bytes([10, 30, 0, 0])), attribute(6, struct.pack("=I", 5)), attribute(9, HOPS))
LINK = request(
    rtnetlink.RTM_NEWLINK,
    struct.pack("=BxHiII", 0, 1, 7, 0x11043, 0)
    + attribute(3, b"br0\0")
    + attribute(4, struct.pack("=I", 1500))
    + attribute(16, b"\x06")
    + attribute(18, attribute(1, b"bridge\0") + attribute(2, attribute(23, b"\1") + attribute(25, b"\0")))
    + attribute(23, struct.pack("=3Q", 1, 2, 1 << 40)),
)
MEMBER = struct.pack("=IBBH4s12xH2x", 9, 0, 0, 0, bytes([239, 1, 2, 3]), int.from_bytes(b"\x08\0", "little"))
MDB = request(rtnetlink.RTM_GETMDB, struct.pack("=BxxxI", 7, 5) + attribute(1, attribute(1, attribute(1, MEMBER))))


def test_a_route_with_two_gateways() -> None:
    [route] = rtnetlink.routes(iter([MULTIPATH]))
    assert (route.destination, route.metric, route.protocol, route.table) == ("10.30.0.0/16", 5, "boot", 254)
    assert route.hops == (rtnetlink.Hop("10.0.0.2", 2, 2), rtnetlink.Hop("10.0.0.3", 3, 1))


def test_routes_that_lead_nowhere_or_are_of_another_family() -> None:
    [route] = rtnetlink.routes(iter([_route(kind=6, bits=0)]))
    assert (route.type, route.hops, route.destination) == ("blackhole", (), "0.0.0.0/0")
    assert list(rtnetlink.routes(iter([_route(family=28)]))) == []


def test_a_bridge_and_its_counters() -> None:
    [link] = rtnetlink.links(iter([LINK]))
    assert (link.name, link.index, link.state, link.mtu, link.kind) == ("br0", 7, "UP", 1500, "bridge")
    assert (link.snooping, link.own_querier, link.querier, link.master) == (True, False, "", None)
    assert link.counters == {"rx_packets": 1, "tx_packets": 2, "rx_bytes": 1 << 40}
    assert link.is_up and "MULTICAST" in link.flags


def test_a_member_behind_a_bridge() -> None:
    assert list(rtnetlink.bridge_members(iter([MDB]))) == [rtnetlink.BridgeMember(5, 9, "239.1.2.3", False)]


@pytest.mark.parametrize(("read", "whole"), [("routes", MULTIPATH), ("links", LINK), ("bridge_members", MDB)])
def test_what_is_cut_gives_nothing_and_what_is_damaged_brings_nothing_down(read: str, whole: bytes) -> None:
    reader = getattr(rtnetlink, read)
    for size in range(len(whole)):
        assert list(reader(iter([whole[:size]]))) == []
    for at in range(4, len(whole)):
        list(reader(iter([whole[:at] + b"\xff" + whole[at + 1 :]])))
