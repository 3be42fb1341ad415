"""TCP_INFO, MPTCP's and the upper layers' as ss words them."""

from __future__ import annotations

import sys
from struct import unpack, unpack_from

from echowire.core.sockets import fields
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.sock_diag import nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

INFO_BYTES = 240
"""Of `struct tcp_info` up to `tcpi_rehash`: what has words. A shorter one is read as if the rest were 0."""

KEPT_TEXTS = 50_000


def info_text(
    blobs: Iterable[tuple[bytes]],
    congestion: Sequence[str | None],
    own: Sequence[tuple[int, bytes]] | None,
    kept: dict[object, dict[Any, str]],
    is_numeric: bool,
) -> list[str]:
    """One text a `struct tcp_info`. `own` is what the congestion control tells of itself; `kept` is for this function.

    The structure is cut where what changes often meets what does not, and the text of each piece is kept.
    """
    first, third, pace, counts = (kept.setdefault(name, {}) for name in ("first", "third", "pace", "counts"))
    rates = kept.setdefault("rates", {})
    lines = []
    for at, (blob,) in enumerate(blobs):
        if len(blob) < INFO_BYTES:
            blob = blob.ljust(INFO_BYTES, b"\0")
        name = congestion[at]
        key = (blob[4:24], name)
        if (opening := first.get(key)) is None:
            opening = _keep(first, key, _opening(blob, name))
        key2 = blob[24:44] + blob[60:104] + blob[:1]
        if (window := third.get(key2)) is None:
            window = _keep(third, key2, _window(blob))
        key3 = blob[16:20] + blob[68:72] + blob[80:84] + blob[104:120]
        if (pacing := pace.get(key3)) is None:
            pacing = _keep(pace, key3, _pacing(blob, is_numeric))
        key4 = blob[120:240]
        if (counted := counts.get(key4)) is None:
            counted = _keep(counts, key4, _counts(blob, is_numeric))
        sent, _, received, acked = unpack_from("=IIII", blob, 44)
        ago = f"{f' lastsnd:{sent}' if sent else ''}{f' lastrcv:{received}' if received else ''}"
        if acked:
            ago += f" lastack:{acked}"
        limited = " app_limited" if blob[7] & APP_LIMITED else ""
        tells = ""
        if own is not None and (tells := rates.get(own[at])) is None:  # type: ignore[assignment]
            tells = _keep(rates, own[at], _own(*own[at], is_numeric))
        lines.append(f"{opening}{window}{tells}{pacing}{ago}{counted}{limited}")
    return lines


APP_LIMITED = 0x01 if sys.byteorder == "little" else 0x80


def _keep(texts: dict[Any, str], key: object, text: str) -> str:
    if len(texts) < KEPT_TEXTS:
        texts[key] = text
    return text


def _said(*pairs: tuple[str, object]) -> str:
    """` name:value` of each that is not 0."""
    return "".join([f" {name}:{value}" for name, value in pairs if value])


def _g(value: float) -> str:
    return f"{value:g}"


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:g}" if microseconds else ""


def _opening(blob: bytes, congestion: str | None) -> str:
    backoff, options, scale = blob[4], blob[5], blob[6]
    rto, ato, mss, rcv_mss = unpack_from("=IIII", blob, 8)
    text = "".join(f" {name}" for bit, name in fields.TCP_OPTIONS if options & bit)
    if congestion:
        text += f" {congestion}"
    if options & 4:
        low, high = scale & 15, scale >> 4
        send, receive = (low, high) if sys.byteorder == "little" else (high, low)
        text += f" wscale:{send},{receive}"
    text += _said(("rto", _ms(rto) if rto != INITIAL_RTO else ""), ("backoff", backoff), ("ato", _ms(ato)))
    return text + _said(("mss", mss), ("rcvmss", rcv_mss))


INITIAL_RTO = 3_000_000
"""Microseconds; what ss takes for unset."""


def _window(blob: bytes) -> str:
    unacked, sacked, lost, retrans, fackets = unpack_from("=IIIII", blob, 24)
    pmtu, rcv_ssthresh, rtt, rttvar, ssthresh, cwnd, advmss, reordering, rcv_rtt, rcv_space, total = unpack_from(
        "=11I", blob, 60
    )
    text = f" rtt:{rtt / 1000:g}/{rttvar / 1000:g}" if rtt else ""
    text += _said(
        ("pmtu", pmtu), ("advmss", advmss), ("cwnd", cwnd), ("ssthresh", ssthresh if ssthresh < 0xFFFF else 0)
    )
    text += _said(("unacked", unacked))
    if retrans or total:
        text += f" retrans:{retrans}/{total}"
    # A listener has its limit there.
    text += _said(("lost", lost), ("sacked", sacked if blob[0] != fields.LISTEN else 0), ("fackets", fackets))
    text += _said(("reordering", reordering if reordering != 3 else 0), ("rcv_rtt", _ms(rcv_rtt)))
    return text + _said(("rcv_space", rcv_space), ("rcv_ssthresh", rcv_ssthresh))


def _pacing(blob: bytes, is_numeric: bool) -> str:
    (mss,), (rtt,), (cwnd,) = (unpack_from("=I", blob, at) for at in (16, 68, 80))
    pace, most = unpack_from("=QQ", blob, 104)
    text = ""
    if rtt and mss and cwnd:
        text = f" send {rate(cwnd * mss * 8_000_000 / rtt, is_numeric)}bps"
    if pace and pace != NO_RATE:
        text += f" pacing_rate {rate(pace * 8, is_numeric)}bps"
        if most and most != NO_RATE:
            text += f"/{rate(most * 8, is_numeric)}bps"
    return text


NO_RATE = (1 << 64) - 1


def _counts(blob: bytes, is_numeric: bool) -> str:
    acked, received, out, into, notsent, min_rtt, data_in, data_out = unpack_from("=QQIIIIII", blob, 120)
    delivery, busy, window, buffer, delivered, _ = unpack_from("=QQQQII", blob, 160)
    sent, resent, dsacks, reordered, ooo, snd_wnd, rcv_wnd, rehash = unpack_from("=QQ6I", blob, 200)
    text = _said(("bytes_sent", sent), ("bytes_retrans", resent), ("bytes_acked", acked), ("bytes_received", received))
    text += _said(("segs_out", out), ("segs_in", into), ("data_segs_out", data_out), ("data_segs_in", data_in))
    if delivery:
        text += f" delivery_rate {rate(delivery * 8, is_numeric)}bps"
    text += _said(("delivered", delivered))
    if busy:
        text += f" busy:{busy // 1000}ms"
        text += f" rwnd_limited:{window // 1000}ms({100 * window / busy:.1f}%)" if window else ""
        text += f" sndbuf_limited:{buffer // 1000}ms({100 * buffer / busy:.1f}%)" if buffer else ""
    text += _said(("dsack_dups", dsacks), ("reord_seen", reordered), ("notsent", notsent))
    text += _said(("minrtt", _ms(min_rtt) if min_rtt != 0xFFFF_FFFF else ""), ("rcv_ooopack", ooo))
    return text + _said(("snd_wnd", snd_wnd), ("rcv_wnd", rcv_wnd), ("rehash", rehash))


def rate(bits: float, is_numeric: bool) -> str:
    """Bits a second as ss writes them."""
    if is_numeric:
        return f"{bits:.0f}"
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if bits >= factor:
            return f"{bits / factor:.3g}{unit}"
    return f"{bits:.0f}"


def _own(kind: int, data: bytes, is_numeric: bool) -> str:
    """` bbr:(…)`, ` dctcp:(…)`."""
    if kind == diag.BBRINFO:
        low, high, rtt, pacing, window = unpack_from("=5I", data.ljust(20, b"\0"))
        text = f" bbr:(bw:{rate((high << 32 | low) * 8, is_numeric)}bps,mrtt:{rtt / 1000:g}"
        text += f",pacing_gain:{pacing / 256:g}" if pacing else ""
        return text + (f",cwnd_gain:{window / 256:g})" if window else ")")
    if kind == diag.DCTCPINFO:
        enabled, state, alpha, marked, total = unpack_from("=HHIII", data.ljust(16, b"\0"))
        if not enabled:
            return " dctcp:fallback_mode"
        return f" dctcp:(ce_state:{state},alpha:{alpha},ab_ecn:{marked},ab_tot:{total})"
    return ""


_FLAGS = ((1, "M"), (2, "m"), (4, "J"), (8, "j"), (16, "B"), (32, "b"), (64, "e"), (128, "c"), (256, "v"))
"""MPTCP_SUBFLOW_FLAG_… of linux/mptcp.h by ss's letters: capable, joined, backup (remote, local), established, …"""


def ulp_text(data: bytes) -> str:
    """The upper layer of a TCP socket: ` tcp-ulp-tls …`, ` tcp-ulp-mptcp …`."""
    found = nested(data)
    name = found.get(diag.ULP_NAME, b"").rstrip(b"\0").decode("ascii", "replace")
    text = f" tcp-ulp-{name}" if name else ""
    if diag.ULP_MPTCP in found:
        text += _subflow(found[diag.ULP_MPTCP])
    if diag.ULP_TLS in found:
        text += _tls(found[diag.ULP_TLS])
    return text


def _numbers(data: bytes) -> dict[int, int]:
    letters = {1: "B", 2: "H", 4: "I", 8: "Q"}
    return {
        kind: unpack("=" + letters[len(value)], value)[0]
        for kind, value in nested(data).items()
        if len(value) in letters
    }


def _subflow(data: bytes) -> str:
    """MPTCP_SUBFLOW_ATTR_… of linux/mptcp.h."""
    found = _numbers(data)
    flags = "".join(letter for bit, letter in _FLAGS if found.get(8, 0) & bit)
    text = f" flags:{flags}" if flags else ""
    if 1 in found and 9 in found and 2 in found and 10 in found:
        text += f" token:{found[1]:04x}(id:{found[9]})/{found[2]:04x}(id:{found[10]})"
    for kind, name in ((4, "seq"), (5, "sfseq"), (6, "ssnoff"), (7, "maplen")):
        if kind in found:
            text += f" {name}:{found[kind]:x}"
    return text


_TLS_VERSIONS = {0x0303: "1.2", 0x0304: "1.3"}
_TLS_CIPHERS = {51: "aes-gcm-128", 52: "aes-gcm-256", 53: "aes-ccm-128", 54: "chacha20-poly1305"}
_TLS_CIPHERS |= {55: "sm4-gcm", 56: "sm4-ccm", 57: "aria-gcm-128", 58: "aria-gcm-256"}
_TLS_CONFIGURATIONS = {0: "none", 1: "sw", 2: "hw", 3: "hw-record"}


def _tls(data: bytes) -> str:
    """TLS_INFO_… of linux/tls.h."""
    found = _numbers(data)
    text = ""
    for kind, name, words in (
        *((1, "version", _TLS_VERSIONS), (2, "cipher", _TLS_CIPHERS)),
        *((4, "rxconf", _TLS_CONFIGURATIONS), (3, "txconf", _TLS_CONFIGURATIONS)),
    ):
        if kind in found:
            text += f" {name}: {words.get(found[kind], f'unknown ({found[kind]})')}"
    return text


def mptcp_text(data: bytes) -> str:
    """`struct mptcp_info` in words."""
    names = [
        (name, field) for name, field in fields.fields_of(diag.AF_INET, "mptcp", (0, 0)).items() if "mptcpi_" in name
    ]
    text = ""
    for name, (_, offset, letter, _, _) in names:
        size = {"B": 1, "H": 2, "I": 4, "Q": 8}[letter]
        if offset + size > len(data):
            break
        (value,) = unpack_from("=" + letter, data, offset)
        short = name.removeprefix("mptcpi_")
        if short == "flags":
            text += "".join(f" {word}" for bit, word in _MPTCP_FLAGS if value & bit)
        elif value and short != "reserved":
            text += f" {short}:{value:x}" if short in _HEX else f" {short}:{value}"
    return text


_MPTCP_FLAGS = ((1, "fallback"), (2, "remote_key"))
"""MPTCP_INFO_FLAG_… of linux/mptcp.h."""

_HEX = frozenset({"token", "write_seq", "snd_una", "rcv_nxt"})
