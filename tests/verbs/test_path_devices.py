"""Devices on the way that answer in the target's name: a firewall that resets, a translator of addresses; and flows."""

from __future__ import annotations

import pytest

import echowire
from tests.netns import chain, link, namespaces
from tests.peers import needs_root

pytestmark = needs_root

NAT = """
add table ip nat
add chain ip nat before { type nat hook prerouting priority -100; }
add rule ip nat before ip daddr 10.99.0.9 dnat to 10.77.2.2
"""


def test_a_reset_that_a_firewall_sent_is_told_from_the_targets_own() -> None:
    """Its time to live says how far it came: it was sent one hop away, and the target is three."""
    with chain(4) as hosts:
        with hosts[0].inside():
            own = echowire.path("10.77.2.2", probe="tcp", port=443, count=1, interval_s=0.1)
        hosts[1].nft("add rule inet test forward tcp dport 443 reject with tcp reset")
        with hosts[0].inside():
            forged = echowire.path("10.77.2.2", probe="tcp", port=443, count=1, interval_s=0.1)
    assert [judged.reset_by for _, judged in own.judged] == [None, None, None]
    assert own.hops[-1].said == [("refused", "")]
    assert [judged.reset_by for _, judged in forged.judged] == [None, 1]


@pytest.mark.parametrize("probe", ["icmp", "udp"])
def test_a_translated_address_is_noticed(probe: str) -> None:
    with chain(4) as hosts:
        hosts[0].ip("route add 10.99.0.9 via 10.77.0.2")
        hosts[1].nft(NAT)
        with hosts[0].inside():
            plain = echowire.path("10.77.2.2", probe=probe, count=1, interval_s=0.1)  # type: ignore[arg-type]
            way = echowire.path("10.99.0.9", probe=probe, count=1, interval_s=0.1)  # type: ignore[arg-type]
    assert not any(judged.translated for _, judged in plain.judged)
    assert [(hop.addresses, judged.translated) for hop, judged in way.judged] == [
        (["10.99.0.9"], True),  # the translator, whose own errors are translated too
        (["10.99.0.9"], True),
        (["10.99.0.9"], False),
    ]
    assert way.reached


def test_a_link_local_address_is_on_the_interface_of_the_source() -> None:
    with namespaces(2) as (one, other):
        device, peer = link(one, other, "10.0.0.1/24", "10.0.0.2/24")
        address = next(
            word.partition("/")[0] for word in other.ip(f"-6 addr show dev {peer}").split() if word.startswith("fe80:")
        )
        with one.inside():
            pinged = echowire.ping(address, source=device, count=1)
            way = echowire.path(address, source=device, count=1)
            group = echowire.ping(f"ff02::1%{device}", count=2, interval_s=0.1)
    assert pinged.targets[0].received == 1 and pinged.targets[0].clocks == {"kernel": 1}
    assert pinged.targets[0].address == f"{address}%{device}" or pinged.targets[0].address == address
    assert way.reached
    assert group.targets[0].received == 2 and group.targets[0].clocks == {"kernel receive": 2}  # this host is first
    assert group.targets[0].duplicated >= 1  # the other one
