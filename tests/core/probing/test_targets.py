"""Whom to ping, as people write it."""

from __future__ import annotations

import pytest

from echowire.core.probing.targets import (
    TargetName,
    count_targets,
    expand_targets,
    has_range,
    in_zone,
    read_target_file,
)
from echowire.errors import UsageError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("host", TargetName("host")),
        ("192.0.2.1", TargetName("192.0.2.1")),
        ("::1", TargetName("::1")),
        ("fe80::1%eth0", TargetName("fe80::1%eth0")),
        ("[::1]", TargetName("::1")),
        ("host:443", TargetName("host", 443)),
        ("[::1]:443", TargetName("::1", 443)),
    ],
)
def test_one(text: str, target: TargetName) -> None:
    assert list(expand_targets([text], ports=True)) == [target]
    assert count_targets([text]) == 1
    assert not has_range([text])


def test_a_range_is_every_address_in_it() -> None:
    found = list(expand_targets(["192.0.2.5/30", "fd00::/126", "host"], ports=False))
    assert [target.host for target in found[:4]] == ["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]
    assert found[4].host == "fd00::"
    assert len(found) == count_targets(["192.0.2.5/30", "fd00::/126", "host"]) == 9
    assert count_targets(["fd00::/32"]) == 2**96
    assert has_range(["host", "10.0.0.0/8"])


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "host/24", "ho st", "[::1", "[::1]x", "a:b", "a:70000", "\x1b[2J"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        list(expand_targets([text], ports=True))


def test_icmp_has_no_ports() -> None:
    with pytest.raises(UsageError, match="ICMP has no ports"):
        list(expand_targets(["host:80"], ports=False))


def test_link_local_addresses_are_on_the_interface() -> None:
    hosts = ["fe80::1", "FF02::1", "fe80::1%lo", "fd00::1", "host"]
    names = [TargetName(host, 7) for host in hosts]
    zoned = [(name.host, name.port) for name in in_zone(names, "v0")]
    assert zoned == [("fe80::1%v0", 7), ("FF02::1%v0", 7), ("fe80::1%lo", 7), ("fd00::1", 7), ("host", 7)]
    assert in_zone(names, "") == names


def test_a_file() -> None:
    assert read_target_file("# all\n\nhost one more word\r\n  10.0.0.0/30 # net\n::1") == ["host", "10.0.0.0/30", "::1"]
