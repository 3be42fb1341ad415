"""TCP_INFO: what the kernel knows of one TCP connection, under the kernel's own names (`struct tcp_info`, linux/tcp.h).

The structure has grown with the kernel and only ever at its end, so a reader takes as many fields as were given:
a field that an older kernel lacks is left out, never zero. Two bytes near the start hold bit fields, of which the
first has the lowest bits on a little-endian machine and the highest on a big-endian one, as C lays them out.
Times are microseconds save those of the table's comments.
"""

from __future__ import annotations

import struct
import sys
from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BITS: Mapping[str, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        "wscale": (("tcpi_snd_wscale", 4), ("tcpi_rcv_wscale", 4)),
        "flags": (("tcpi_delivery_rate_app_limited", 1), ("tcpi_fastopen_client_fail", 2)),
        "accecn": (
            ("tcpi_ecn_mode", 2),
            ("tcpi_accecn_opt_seen", 2),
            ("tcpi_accecn_fail_mode", 4),
            ("tcpi_options2", 24),
        ),
    }
)
"""Members that are made of bit fields, in the order in which C declares them, with their widths in bits."""

FIELDS: tuple[tuple[str, str], ...] = (
    *((name, "B") for name in ("tcpi_state", "tcpi_ca_state", "tcpi_retransmits", "tcpi_probes", "tcpi_backoff")),
    ("tcpi_options", "B"),
    ("wscale", "B"),
    ("flags", "B"),
    *((f"tcpi_{name}", "I") for name in ("rto", "ato", "snd_mss", "rcv_mss")),
    *((f"tcpi_{name}", "I") for name in ("unacked", "sacked", "lost", "retrans", "fackets")),
    # Milliseconds since; the second is never set.
    *((f"tcpi_last_{name}", "I") for name in ("data_sent", "ack_sent", "data_recv", "ack_recv")),
    *((f"tcpi_{name}", "I") for name in ("pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh", "snd_cwnd")),
    *((f"tcpi_{name}", "I") for name in ("advmss", "reordering", "rcv_rtt", "rcv_space", "total_retrans")),
    # Bytes a second, then bytes (RFC 4898's octets).
    *((f"tcpi_{name}", "Q") for name in ("pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received")),
    *((f"tcpi_{name}", "I") for name in ("segs_out", "segs_in", "notsent_bytes", "min_rtt")),
    *((f"tcpi_{name}", "I") for name in ("data_segs_in", "data_segs_out")),
    *((f"tcpi_{name}", "Q") for name in ("delivery_rate", "busy_time", "rwnd_limited", "sndbuf_limited")),
    *((f"tcpi_{name}", "I") for name in ("delivered", "delivered_ce")),
    *((f"tcpi_{name}", "Q") for name in ("bytes_sent", "bytes_retrans")),
    *((f"tcpi_{name}", "I") for name in ("dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash")),
    ("tcpi_total_rto", "H"),
    ("tcpi_total_rto_recoveries", "H"),
    ("tcpi_total_rto_time", "I"),  # milliseconds
    *((f"tcpi_{name}", "I") for name in ("received_ce", "delivered_e1_bytes", "delivered_e0_bytes")),
    *((f"tcpi_{name}", "I") for name in ("delivered_ce_bytes", "received_e1_bytes", "received_e0_bytes")),
    ("tcpi_received_ce_bytes", "I"),
)
"""Every member up to Linux 6.18's Accurate ECN (RFC 9768), and the `struct` letter of its type."""

ACCECN_AS_NUMBERS = (("tcpi_accecn_fail_mode", "H"), ("tcpi_accecn_opt_seen", "H"))
ACCECN_AS_BITS = (("accecn", "I"),)
"""The four bytes after these: two numbers in Linux 6.18 and 6.19, made bit fields in 7.0."""

BITS_SINCE = (7, 0)


def decode_tcp_info(
    data: bytes, *, release: tuple[int, int] = BITS_SINCE, byteorder: str = sys.byteorder
) -> dict[str, int]:
    """The members of `struct tcp_info` that `data` holds whole, by the kernel's names, in the kernel's order.

    `release` is the version of the kernel that gave it; it matters for the last four bytes alone.
    """
    order = "<" if byteorder == "little" else ">"
    members: dict[str, int] = {}
    for name, offset, letter, shift, mask in members_of(release=release, byteorder=byteorder):
        if offset + struct.calcsize("=" + letter) > len(data):
            break
        members[name] = struct.unpack_from(order + letter, data, offset)[0] >> shift & mask
    return members


def members_of(
    *, release: tuple[int, int] = BITS_SINCE, byteorder: str = sys.byteorder
) -> Iterator[tuple[str, int, str, int, int]]:
    """Name, offset, `struct` letter, shift and mask of every member: its value is `word >> shift & mask`."""
    offset = 0
    for name, letter in (*FIELDS, *(ACCECN_AS_BITS if release >= BITS_SINCE else ACCECN_AS_NUMBERS)):
        size = struct.calcsize("=" + letter)
        offset += -offset % size  # C aligns each to its own size
        if name in BITS:
            for part, shift, mask in _parts(8 * size, BITS[name], byteorder):
                yield part, offset, letter, shift, mask
        else:
            yield name, offset, letter, 0, (1 << 8 * size) - 1
        offset += size


def _parts(width: int, parts: tuple[tuple[str, int], ...], byteorder: str) -> Iterator[tuple[str, int, int]]:
    low = 0
    for name, bits in parts:
        yield name, low if byteorder == "little" else width - low - bits, (1 << bits) - 1
        low += bits
