"""The kernel's tables of links, routes and bridges' groups, as rtnetlink(7) dumps them: messages to values. Pure.

pyroute2 does this for every attribute there is; to import it takes longer than all of this takes, and the few messages
that are read here are a page of `struct` over an envelope (`netlink.py`) that the sockets need anyway. What a newer
kernel adds is passed over. Layouts: linux/if_link.h, linux/rtnetlink.h, linux/if_bridge.h.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from struct import calcsize, unpack_from

from echowire.core.sockets.netlink import HEADER_BYTES, attributes, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
FAMILIES = {AF_INET: 4, AF_INET6: 6}

RTM_NEWLINK, RTM_GETLINK, RTM_NEWROUTE, RTM_GETROUTE, RTM_NEWMDB, RTM_GETMDB = 16, 18, 24, 26, 84, 86
RTM_F_CLONED = 0x200  # a cache's entry, which no table has

LINK_REQUEST, ROUTE_REQUEST, MDB_REQUEST = "=BxHiII", "=BBBBBBBBI", "=BxxxI"
IFF_FLAGS = {
    0x1: "UP", 0x2: "BROADCAST", 0x8: "LOOPBACK", 0x10: "POINTOPOINT", 0x40: "RUNNING", 0x80: "NOARP",
    0x100: "PROMISC", 0x200: "ALLMULTI", 0x400: "MASTER", 0x800: "SLAVE", 0x1000: "MULTICAST", 0x10000: "LOWER_UP",
    0x20000: "DORMANT",
}  # fmt: skip
"""By the names that `ip link` prints (linux/if.h)."""

COUNTERS = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped",
    "multicast", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors",
    "rx_fifo_errors", "rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors",
    "tx_heartbeat_errors", "tx_window_errors", "rx_compressed", "tx_compressed", "rx_nohandler",
    "rx_otherhost_dropped",
)  # fmt: skip
"""`struct rtnl_link_stats64`, in its order; an older kernel has fewer."""

STATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
"""IF_OPER_* of linux/if.h (RFC 2863)."""

ROUTE_TYPES = (
    "unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw",
    "nat",
)  # fmt: skip
PROTOCOLS = {
    1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird",
    13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 18: "keepalived", 42: "babel", 99: "openr", 186: "bgp",
    187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}  # fmt: skip
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
TABLES = {253: "default", 254: "main", 255: "local"}

_FLAG_NAMES = {0x1: "dead", 0x2: "pervasive", 0x4: "onlink", 0x10: "linkdown"}  # RTNH_F_*


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. `state` is RFC 2863's; `master` the number of the bridge, bond or VRF that it is a port of.

    Of a bridge `snooping` says whether it looks at who joins, `own_querier` whether it asks for that itself, and
    `querier` which address asks; of a bridge's port `floods` says whether it gets groups that nobody joined, and
    `port_of_router` that it gets all. None: it is no bridge, or no port, or the kernel does not say.
    """

    index: int
    name: str
    state: str
    flags: tuple[str, ...]
    mtu: int
    kind: str | None
    master: int | None
    counters: Mapping[str, int]
    snooping: bool | None = None
    own_querier: bool | None = None
    querier: str | None = None
    floods: bool | None = None
    port_of_router: bool | None = None

    @property
    def is_up(self) -> bool:
        """Whether it is switched on."""
        return "UP" in self.flags


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a route goes on: the gateway, empty for the link itself, and the number of the interface, 0 for none."""

    gateway: str
    interface: int
    weight: int = 1
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route, of a table or as the kernel chose it. `family` is 4 or 6, `mtu` that of its metrics, if it has one."""

    family: int
    type: str
    destination: str
    hops: tuple[Hop, ...]
    source: str
    """The address that packets leave from, where the route says one."""
    metric: int
    protocol: str
    scope: str
    table: int
    mtu: int | None
    advmss: int | None
    window: int | None

    @property
    def gateway(self) -> str:
        """The first hop's."""
        return self.hops[0].gateway if self.hops else ""


@dataclass(frozen=True, slots=True)
class BridgeMember:
    """A group that a bridge has learnt at one of its ports, or, where the port is the bridge, of this host itself."""

    bridge: int
    port: int
    group: str
    is_permanent: bool


def links(buffers: Iterator[bytes]) -> Iterator[Link]:
    """The interfaces of a dump of RTM_GETLINK."""
    for buffer in buffers:
        for kind, _, start, end in messages(buffer):
            if kind == RTM_NEWLINK:
                yield _link(buffer, start + HEADER_BYTES, end)


def _link(buffer: bytes, at: int, end: int) -> Link:
    _, _, index, flags, _ = unpack_from(LINK_REQUEST, buffer, at)
    found = _data(buffer, at + calcsize(LINK_REQUEST), end)
    info = _data(found.get(18, b""))  # IFLA_LINKINFO
    kind, port_kind = _text(info.get(1)), _text(info.get(4))
    bridge = _data(info.get(2, b"")) if kind == "bridge" else {}
    port = _data(info.get(5, b"")) if port_kind == "bridge" else {}
    stats = found.get(23, b"")  # IFLA_STATS64
    values = unpack_from(f"={len(stats) // 8}Q", stats) if stats else ()
    state = (found.get(16) or b"\0")[0]
    return Link(
        index=index,
        name=_text(found.get(3)) or f"if{index}",
        state=STATES[state] if state < len(STATES) else str(state),
        flags=tuple(name for bit, name in IFF_FLAGS.items() if flags & bit),
        mtu=_number(found.get(4)) or 0,
        kind=kind,
        master=_number(found.get(10)),
        counters=dict(zip(COUNTERS, values, strict=False)),
        snooping=_flag(bridge.get(23)),
        own_querier=_flag(bridge.get(25)),
        querier=_querier(bridge.get(47)) if bridge else None,
        floods=_flag(port.get(27)),
        port_of_router=port[25][:1] == b"\2" if 25 in port else None,
    )


def _querier(state: bytes | None) -> str:
    """The address of the IPv4 querier that a bridge has heard of, else of the IPv6 one (BRIDGE_QUERIER_*)."""
    found = _data(state or b"")
    for kind in (1, 5):
        if address := _address(found.get(kind)):
            return address
    return ""


def routes(buffers: Iterator[bytes]) -> Iterator[Route]:
    """The routes of a dump of RTM_GETROUTE, or of its answer for one address; a cache's entries are no routes."""
    for buffer in buffers:
        for kind, _, start, end in messages(buffer):
            if kind != RTM_NEWROUTE:
                continue
            route = _route(buffer, start + HEADER_BYTES, end)
            if route is not None:
                yield route


def _route(buffer: bytes, at: int, end: int) -> Route | None:
    family, bits, _, _, table, protocol, scope, kind, flags = unpack_from(ROUTE_REQUEST, buffer, at)
    if family not in FAMILIES:
        return None
    found = _data(buffer, at + calcsize(ROUTE_REQUEST), end)
    metrics = _data(found.get(8, b""))
    any_address = "0.0.0.0" if family == AF_INET else "::"  # noqa: S104 - a destination
    hops = tuple(_hops(found.get(9, b"")))
    if not hops and (4 in found or 5 in found or 18 in found):
        hops = (Hop(_gateway(found), _number(found.get(4)) or 0, flags=_hop_flags(flags & 0xFF)),)
    return Route(
        family=FAMILIES[family],
        type=ROUTE_TYPES[kind] if kind < len(ROUTE_TYPES) else str(kind),
        destination=f"{_address(found.get(1)) or any_address}/{bits}",
        hops=hops,
        source=_address(found.get(7)),
        metric=_number(found.get(6)) or 0,
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        scope=SCOPES.get(scope, str(scope)),
        table=_number(found.get(15)) or table,
        mtu=_number(metrics.get(2)),
        advmss=_number(metrics.get(8)),
        window=_number(metrics.get(3)),
    )


def _hops(data: bytes) -> Iterator[Hop]:
    """RTA_MULTIPATH: `struct rtnexthop` (length, flags, weight less one, interface), each with attributes."""
    at = 0
    while at + 8 <= len(data):
        size, flags, weight, interface = unpack_from("=HBBi", data, at)
        if size < 8 or at + size > len(data):
            return
        found = _data(data, at + 8, at + size)
        yield Hop(_gateway(found), interface, weight + 1, _hop_flags(flags))
        at += (size + 3) & ~3


def _gateway(found: Mapping[int, bytes]) -> str:
    """RTA_GATEWAY, or RTA_VIA: a family of its own, and an address of it."""
    return _address(found.get(5)) or _address(found.get(18, b"")[2:] or None)


def _hop_flags(flags: int) -> tuple[str, ...]:
    return tuple(name for bit, name in _FLAG_NAMES.items() if flags & bit)


def bridge_members(buffers: Iterator[bytes]) -> Iterator[BridgeMember]:
    """The groups of a dump of RTM_GETMDB: of each bridge, at which port somebody has joined."""
    for buffer in buffers:
        for kind, _, start, end in messages(buffer):
            if kind not in (RTM_NEWMDB, RTM_GETMDB):  # the kernel answers a dump by the name of the question
                continue
            _, bridge = unpack_from(MDB_REQUEST, buffer, start + HEADER_BYTES)
            body = start + HEADER_BYTES + calcsize(MDB_REQUEST)
            for mdb, at, size in attributes(buffer, body, end):  # MDBA_MDB
                if mdb != 1:
                    continue
                for _, entry_at, entry_size in attributes(buffer, at, at + size):  # MDBA_MDB_ENTRY
                    for _, info_at, info_size in attributes(buffer, entry_at, entry_at + entry_size):
                        if (member := _member(bridge, buffer[info_at : info_at + info_size])) is not None:
                            yield member


def _member(bridge: int, info: bytes) -> BridgeMember | None:
    """`struct br_mdb_entry`: port, state, flags, VLAN, 16 bytes of an address, its EtherType, padding."""
    if len(info) < 26:
        return None
    port, state, _, _, raw, protocol = unpack_from("=IBBH16sH", info)
    ethertype = int.from_bytes(protocol.to_bytes(2, "little"), "big") if _IS_LITTLE else protocol
    if ethertype == 0x0800:
        group = str(ipaddress.IPv4Address(raw[:4]))
    elif ethertype == 0x86DD:
        group = str(ipaddress.IPv6Address(raw))
    else:
        return None  # a group of Ethernet's own
    return BridgeMember(bridge, port, group, bool(state & 1))


_IS_LITTLE = unpack_from("=H", b"\1\0")[0] == 1


def _data(buffer: bytes, at: int = 0, end: int | None = None) -> dict[int, bytes]:
    """The data of each attribute, by its number."""
    found = attributes(buffer, at, len(buffer) if end is None else end)
    return {kind: buffer[start : start + size] for kind, start, size in found}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.rstrip(b"\0").decode("utf-8", "replace")


def _number(raw: bytes | None) -> int | None:
    return None if raw is None or len(raw) < 4 else int(unpack_from("=I", raw)[0])


def _flag(raw: bytes | None) -> bool | None:
    return None if not raw else bool(raw[0])


def _address(raw: bytes | None) -> str:
    return "" if raw is None or len(raw) not in (4, 16) else str(ipaddress.ip_address(raw))
