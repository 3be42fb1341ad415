"""Where each fact about a socket stands in sock_diag's messages, and the words that users know for them.

A field is the attribute that holds it (None: the body), its offset there, its `struct` letter, and a shift and a mask
for bit fields. The names are the columns' of `echowire.sockets()` where they need no more than that; a name that
begins with an underscore is raw, and made into a column by `core/sockets/columns.py`.
"""

from __future__ import annotations

import sys
from struct import Struct

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.tcp_info import BITS_SINCE, members_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Field = tuple["int | None", int, str, int, int]

HOLDER = Struct("=Ii")
"""One that holds a socket: number of the process, and descriptor, -1 where it is not known."""

STATES = (
    *("UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN"),
    *("CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV", "UNCONN"),
)
"""include/net/tcp_states.h by ss's names; 12 is a request that is no socket yet, 13 TCP_BOUND_INACTIVE."""

ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT_2, TIME_WAIT, CLOSE, CLOSE_WAIT = 1, 2, 3, 5, 6, 7, 8
LISTEN, NEW_SYN_RECV, BOUND = 10, 12, 13

TIMERS = ("off", "on", "keepalive", "timewait", "persist", "unknown")
"""`idiag_timer`; a time-wait socket has its time of death there."""

TCP_OPTIONS = ((1, "ts"), (2, "sack"), (8, "ecn"), (16, "ecnseen"), (32, "fastopen"))
"""TCPI_OPT_… of linux/tcp.h, as ss says them (4 is the window scale)."""

SKMEM = tuple(
    f"skmem_{name}"
    for name in (
        "rmem_alloc",
        "rcvbuf",
        "wmem_alloc",
        "sndbuf",
        "fwd_alloc",
        "wmem_queued",
        "optmem",
        "backlog",
        "drops",
    )
)
"""SK_MEMINFO_… of linux/sock_diag.h, in their order."""

SOCKET_OPTIONS = (
    *("recverr", "is_icsk", "freebind", "hdrincl", "mc_loop", "transparent", "mc_all", "nodefrag"),
    *("bind_address_no_port", "recverr_rfc4884", "defer_connect"),
)
"""The bits of `struct inet_diag_sockopt`, from its first byte's lowest."""

UNIX_NETIDS = {1: "u_str", 2: "u_dgr", 5: "u_seq"}
PACKET_NETIDS = {2: "p_dgr", 3: "p_raw"}
VSOCK_NETIDS = {1: "v_str", 2: "v_dgr", 5: "v_seq"}
"""SOCK_STREAM, SOCK_DGRAM, SOCK_RAW and SOCK_SEQPACKET, as ss calls the sockets."""

PARTS = {
    **{f"unix_{name}": ("unix", netid) for name, netid in (("stream", "u_str"), ("dgram", "u_dgr"))},
    "unix_seqpacket": ("unix", "u_seq"),
    **{f"packet_{name}": ("packet", netid) for name, netid in (("raw", "p_raw"), ("dgram", "p_dgr"))},
    **{f"vsock_{name}": ("vsock", netid) for name, netid in (("stream", "v_str"), ("dgram", "v_dgr"))},
}
"""A part of a kind, by ss's name: the kind, and its sockets' `netid`."""

_WIDE = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF, "Q": (1 << 64) - 1, "i": -1}


def _body(*members: tuple[str, int, str]) -> dict[str, Field]:
    return {name: (None, offset, letter, 0, _WIDE.get(letter, 0)) for name, offset, letter in members}


def _words(kind: int, names: tuple[str, ...]) -> dict[str, Field]:
    return {name: (kind, 4 * at, "I", 0, _WIDE["I"]) for at, name in enumerate(names)}


def _one(kind: int, letter: str) -> Field:
    return (kind, 0, letter, 0, _WIDE[letter])


def _struct(kind: int, prefix: str, *members: tuple[str, str]) -> dict[str, Field]:
    """The fields of a C structure without gaps but those of alignment."""
    found: dict[str, Field] = {}
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8}
    offset = 0
    for letter, names in members:
        for name in names.split():
            offset += -offset % sizes[letter]
            found[prefix + name] = (kind, offset, letter, 0, _WIDE[letter])
            offset += sizes[letter]
    return found


_COMMON = _body(
    *(("_family", 0, "B"), ("_state", 1, "B"), ("_timer", 2, "B"), ("_tries", 3, "B")),
    *(("_sport", 4, "H"), ("_dport", 6, "H"), ("_src", 8, "16s"), ("_dst", 24, "16s"), ("_interface", 40, "I")),
    *(("_cookie", 44, "Q"), ("_expires", 52, "I"), ("_rqueue", 56, "I"), ("_wqueue", 60, "I")),
    *(("_uid", 64, "I"), ("inode", 68, "I")),
) | {
    "shutdown": _one(diag.SHUTDOWN, "B"),
    "tos": _one(diag.TOS, "B"),
    "tclass": _one(diag.TCLASS, "B"),
    "class_id": _one(diag.CLASS_ID, "I"),
    "mark": _one(diag.MARK, "I"),
    "_v6only": _one(diag.SKV6ONLY, "B"),
    "_protocol": _one(diag.PROTOCOL, "B"),
    "_cgroup": _one(diag.CGROUP_ID, "Q"),
    **{
        f"opt_{name}": (diag.SOCKOPT, at // 8, "B", at % 8 if sys.byteorder == "little" else 7 - at % 8, 1)
        for at, name in enumerate(SOCKET_OPTIONS)
    },
    **_words(diag.SKMEMINFO, SKMEM),
}

_CONGESTION = (
    _struct(diag.VEGASINFO, "vegas_", ("I", "enabled rttcnt rtt minrtt"))
    | _struct(diag.DCTCPINFO, "dctcp_", ("H", "enabled ce_state"), ("I", "alpha ab_ecn ab_tot"))
    | _struct(diag.BBRINFO, "bbr_", ("I", "bw_lo bw_hi min_rtt pacing_gain cwnd_gain"))
)
"""What a congestion control tells of itself; gains are in 256ths, rates bytes a second, times microseconds."""

_MPTCP = _struct(
    diag.INFO,
    "mptcpi_",
    ("B", "subflows add_addr_signal add_addr_accepted subflows_max add_addr_signal_max add_addr_accepted_max"),
    ("I", "flags token"),
    ("Q", "write_seq snd_una rcv_nxt"),
    ("B", "local_addr_used local_addr_max csum_enabled"),
    ("I", "retransmits"),
    ("Q", "bytes_retrans bytes_sent bytes_received bytes_acked"),
    ("B", "subflows_total endp_laminar_max fastclose_max reserved"),
    ("I", "last_data_sent last_data_recv last_ack_recv"),
)
"""`struct mptcp_info`, linux/mptcp.h."""


def tcp_fields(release: tuple[int, int] = BITS_SINCE) -> dict[str, Field]:
    """The fields of a TCP socket; `release` is the kernel's version (`core/sockets/tcp_info.py` says why)."""
    info: dict[str, Field] = {
        name: (diag.INFO, offset, letter, shift, mask)
        for name, offset, letter, shift, mask in members_of(release=release)
    }
    return _COMMON | info | _CONGESTION


_UNIX = _body(("_family", 0, "B"), ("_type", 1, "B"), ("_state", 2, "B"), ("inode", 4, "I"), ("_cookie", 8, "Q")) | {
    "peer_inode": _one(diag.UNIX_PEER, "I"),
    "_rqueue": (diag.UNIX_RQLEN, 0, "I", 0, _WIDE["I"]),
    "_wqueue": (diag.UNIX_RQLEN, 4, "I", 0, _WIDE["I"]),
    "shutdown": _one(diag.UNIX_SHUTDOWN, "B"),
    "_uid": _one(diag.UNIX_UID, "I"),
    **_words(diag.UNIX_MEMINFO, SKMEM),
}

_PACKET = _body(("_family", 0, "B"), ("_type", 1, "B"), ("_number", 2, "H"), ("inode", 4, "I"), ("_cookie", 8, "Q")) | {
    "_uid": _one(diag.PACKET_UID, "I"),
    "_fanout": _one(diag.PACKET_FANOUT, "I"),
    **_struct(diag.PACKET_INFO, "_pdi_", ("I", "index")),
    **_struct(diag.PACKET_INFO, "packet_", ("I", "index version reserve copy_thresh tstamp flags")),
    **{
        f"{ring}_{name}": field
        for ring, kind in (("rx_ring", diag.PACKET_RX_RING), ("tx_ring", diag.PACKET_TX_RING))
        for name, field in _struct(kind, "", ("I", "block_size blocks frame_size frames timeout private")).items()
    },
    **_words(diag.PACKET_MEMINFO, SKMEM),
}
del _PACKET["packet_index"]

_NETLINK = _body(
    *(("_family", 0, "B"), ("_type", 1, "B"), ("_protocol", 2, "B"), ("_state", 3, "B"), ("_sport", 4, "I")),
    *(("_dport", 8, "I"), ("_group", 12, "I"), ("inode", 16, "I"), ("_cookie", 20, "Q")),
) | {"netlink_flags": _one(diag.NETLINK_FLAGS, "I"), **_words(diag.NETLINK_MEMINFO, SKMEM)}

_VSOCK = _body(
    *(("_family", 0, "B"), ("_type", 1, "B"), ("_state", 2, "B"), ("shutdown", 3, "B"), ("_src", 4, "I")),
    *(("_sport", 8, "I"), ("_dst", 12, "I"), ("_dport", 16, "I"), ("inode", 20, "I"), ("_cookie", 24, "Q")),
)

PACKET_PROTOCOLS = {
    0x0800: "ip",
    0x0806: "arp",
    0x86DD: "ipv6",
    0x8100: "802.1Q",
    0x88A8: "802.1ad",
    0x88CC: "LLDP",
    0x8863: "ppp_disc",
    0x8864: "ppp_ses",
    0x88F7: "ptp",
    0x8847: "mpls_uc",
    0x8848: "mpls_mc",
    0x0004: "802_2",
    0x888E: "802.1X",
}
"""Names of linux/if_ether.h's protocols, of packet sockets."""

PACKET_FLAGS = ((1, "running"), (2, "auxdata"), (4, "origdev"), (8, "vnethdr"), (16, "loss"))
"""PDI_… of linux/packet_diag.h."""
RING = {"block_size": "blk_size", "blocks": "blk_nr", "frame_size": "frm_size", "frames": "frm_nr", "timeout": "tmo"}
"""Columns of a packet ring, and ss's words for them."""

NETLINK_PROTOCOLS = {
    0: "rtnl",
    1: "unused",
    2: "usersock",
    3: "fw",
    4: "tcpdiag",
    5: "nflog",
    6: "xfrm",
    7: "selinux",
    8: "iscsi",
    9: "audit",
    10: "fiblookup",
    11: "connector",
    12: "nft",
    13: "ip6fw",
    14: "dec-rt",
    15: "uevent",
    16: "genl",
    18: "scsi-trans",
    19: "ecryptfs",
    20: "rdma",
    21: "crypto",
}
"""NETLINK_… of linux/netlink.h by the names of iproute2's table."""

_BY_FAMILY = {diag.AF_UNIX: _UNIX, diag.AF_PACKET: _PACKET, diag.AF_NETLINK: _NETLINK, diag.AF_VSOCK: _VSOCK}


def fields_of(family: int, netid: str, release: tuple[int, int]) -> Mapping[str, Field]:
    """Every field of the sockets of `family` that are called `netid`."""
    if family in _BY_FAMILY:
        return _BY_FAMILY[family]
    if netid == "mptcp":
        return _COMMON | _MPTCP
    return tcp_fields(release) if netid == "tcp" else _COMMON


def address(data: bytes) -> str:
    """An IPv4 address of 4 bytes, or an IPv6 one of 16 in the form of RFC 5952, IPv4-mapped ones with dots."""
    if len(data) == 4:
        return ".".join(map(str, data))
    if data[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + ".".join(map(str, data[12:]))
    words = [f"{data[at] << 8 | data[at + 1]:x}" for at in range(0, 16, 2)]
    best, at = (0, 0), 0
    while at < 8:
        end = at
        while end < 8 and words[end] == "0":
            end += 1
        if end - at > best[1] - best[0]:
            best = (at, end)
        at = max(end, at + 1)
    if best[1] - best[0] < 2:
        return ":".join(words)
    return ":".join(words[: best[0]]) + "::" + ":".join(words[best[1] :])
