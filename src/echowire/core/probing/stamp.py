"""STAMP test packets (RFC 8762), their session identifier and extensions (RFC 8972), byte for byte. Pure.

    sender, unauthenticated (44 bytes)            reflector, unauthenticated (44 bytes)
     0  4  sequence number                          0  4  sequence number
     4  8  timestamp                                4  8  timestamp, of sending this
    12  2  error estimate                          12  2  error estimate
    14  2  session identifier (RFC 8972)           14  2  session identifier
    16 28  zero                                    16  8  receive timestamp
                                                   24  4  the sender's sequence number
    authenticated ones have 112 bytes: the same    28  8  the sender's timestamp
    fields with zeros between, and from 96 on      36  2  the sender's error estimate
    HMAC-SHA-256 over all before it, cut to        38  2  zero
    sixteen bytes (section 4.4)                    40  1  the time to live that it arrived with
                                                   41  3  zero

A TWAMP-Light packet (RFC 5357 appendix I) is the same without the session identifier, and its reflector's is three
bytes shorter: both ends here take it. What follows the base packet are extensions, type-length-value.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

SENDER = struct.Struct(">IQHH28x")
REFLECTOR = struct.Struct(">IQHHQIQH2xB3x")
SENDER_SIGNED = struct.Struct(">I12xQHH68x")
REFLECTOR_SIGNED = struct.Struct(">I12xQHH4xQ8xI12xQH6xB15x")
BASE_BYTES = 44
SIGNED_BYTES = 112
DIGEST_BYTES = 16
TWAMP_BYTES = 41
"""A TWAMP reflector's packet (RFC 5357 section 4.2.1). A sender that wants no less back pads its own to this."""

SECONDS_1900_TO_1970 = 2_208_988_800
ERA = 1 << 32
"""Seconds after which NTP's timestamps begin anew (RFC 5905 section 6): in 2036."""

# RFC 8972 section 4: flags and types of extensions.
UNRECOGNISED, MALFORMED, INTEGRITY = 0x80, 0x40, 0x20
EXTRA_PADDING, DIRECT_MEASUREMENT, HMAC = 1, 5, 8
EXTENSION = struct.Struct(">BBH")
DIRECT = struct.Struct(">III")
"""Section 4.5: what the sender had sent, what the reflector had received, what it had sent; this packet included."""

EXTENSIONS_MAX = 64
"""Extensions of one packet that are looked at. There are eight types; a datagram of 64 KiB has room for 16,000."""


class ErrorEstimate(NamedTuple):
    """How far a clock may be wrong (RFC 4656 section 4.1.2), in seconds; `ptp` says how its timestamps are written."""

    synchronised: bool
    seconds: float
    ptp: bool = False


class Direct(NamedTuple):
    """The counts of a direct measurement."""

    sender_sent: int
    reflector_received: int
    reflector_sent: int


@dataclass(frozen=True, slots=True)
class SenderPacket:
    """A sender's packet. `timestamp` and `error` are as they were written, to be sent back so."""

    sequence: int
    timestamp: int
    error: int
    session: int


@dataclass(frozen=True, slots=True)
class ReflectedPacket:
    """A reflector's packet. Timestamps are as written; `session` is 0 where there is none."""

    sequence: int
    timestamp: int
    error: int
    session: int
    received: int
    sender_sequence: int
    sender_timestamp: int
    sender_error: int
    sender_ttl: int
    direct: Direct | None = None


def ntp_of(time_ns: int) -> int:
    """The 64-bit NTP timestamp of `time_ns` nanoseconds since 1970 (RFC 5905 section 6)."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    # Rounded up, so that what is read back, rounded down, is the same nanosecond.
    fraction = -(-(nanoseconds << 32) // 1_000_000_000)
    return ((seconds + SECONDS_1900_TO_1970) % ERA) << 32 | fraction


def ns_of_ntp(timestamp: int, near_ns: int) -> int:
    """Nanoseconds since 1970 of an NTP timestamp, in the era that brings it nearest to `near_ns`."""
    seconds = (timestamp >> 32) - SECONDS_1900_TO_1970
    eras = round((near_ns / 1e9 - seconds) / ERA)
    return (seconds + eras * ERA) * 1_000_000_000 + ((timestamp & 0xFFFFFFFF) * 1_000_000_000 >> 32)


def ns_of(timestamp: int, near_ns: int, *, ptp: bool) -> int:
    """Nanoseconds since 1970 of a timestamp of either form (RFC 8186: PTP's is seconds and nanoseconds)."""
    if not ptp:
        return ns_of_ntp(timestamp, near_ns)
    return (timestamp >> 32) * 1_000_000_000 + (timestamp & 0xFFFFFFFF)


def pack_error(estimate: ErrorEstimate) -> int:
    """The sixteen bits of `estimate`, rounded up: multiplier * 2**(scale - 32) seconds."""
    units = estimate.seconds * 2**32
    scale = math.ceil(math.log2(units / 255)) if units > 255 else 0
    multiplier = min(max(math.ceil(units / 2.0**scale), 1), 255)
    return int(estimate.synchronised) << 15 | int(estimate.ptp) << 14 | min(scale, 63) << 8 | multiplier


def read_error(bits: int) -> ErrorEstimate | None:
    """The estimate in sixteen bits; None where the multiplier is zero, which makes the packet worthless."""
    if not bits & 0xFF:
        return None
    seconds = (bits & 0xFF) * 2.0 ** ((bits >> 8 & 0x3F) - 32)
    return ErrorEstimate(bool(bits & 0x8000), seconds, bool(bits & 0x4000))


def pack_extension(kind: int, value: bytes, flags: int = UNRECOGNISED) -> bytes:
    """An extension as a sender writes it: marked unrecognised, until the reflector says that it is not."""
    return EXTENSION.pack(flags, kind, len(value)) + value


def pack_sender(
    packet: SenderPacket, *, key: bytes | None = None, direct_sent: int | None = None, size: int = 0
) -> bytes:
    """A sender's packet, authenticated with `key`; with the count for a direct measurement, padded up to `size`."""
    layout = SENDER if key is None else SENDER_SIGNED
    base = _sign(layout.pack(packet.sequence, packet.timestamp, packet.error, packet.session), key)
    extensions = b""
    if direct_sent is not None:
        extensions = pack_extension(DIRECT_MEASUREMENT, DIRECT.pack(direct_sent & 0xFFFFFFFF, 0, 0))
        if key is not None:
            extensions += pack_extension(HMAC, _digest(key, base[:4] + extensions))
    missing = size - len(base) - len(extensions) - EXTENSION.size
    if missing >= 0:
        extensions += pack_extension(EXTRA_PADDING, bytes(missing))
    return base + extensions


def quoted_timestamp(data: bytes, key: bytes | None) -> int:
    """What stands in a packet that `read_sender` takes where a reflector quotes its sender's timestamp."""
    start = 28 if key is None else 64
    return int.from_bytes(data[start : start + 8], "big")


def read_sender(data: bytes, key: bytes | None = None) -> SenderPacket | None:
    """A sender's base packet; None where it is too short, its clock's error is nonsense, or its digest is wrong."""
    if len(data) < (TWAMP_BYTES if key is None else SIGNED_BYTES) or not is_signed(data, key):
        return None
    layout = SENDER if key is None else SENDER_SIGNED
    sequence, timestamp, error, session = layout.unpack_from(data.ljust(layout.size, b"\0"))
    return None if read_error(error) is None else SenderPacket(sequence, timestamp, error, session)


def pack_reflected(packet: ReflectedPacket, key: bytes | None = None) -> bytes:
    """A reflector's base packet."""
    layout = REFLECTOR if key is None else REFLECTOR_SIGNED
    fields = (packet.sequence, packet.timestamp, packet.error, packet.session, packet.received)
    sent = (packet.sender_sequence, packet.sender_timestamp, packet.sender_error, packet.sender_ttl)
    return _sign(layout.pack(*fields, *sent), key)


def read_reflected(data: bytes, key: bytes | None = None) -> ReflectedPacket | None:
    """A reflector's packet, TWAMP-Light's too; None where it is too short, or its digest is wrong."""
    if len(data) < (TWAMP_BYTES if key is None else SIGNED_BYTES) or not is_signed(data, key):
        return None
    layout = REFLECTOR if key is None else REFLECTOR_SIGNED
    values = layout.unpack_from(data.ljust(layout.size, b"\0"))
    if read_error(values[2]) is None:
        return None
    base = BASE_BYTES if key is None else SIGNED_BYTES
    return replace(ReflectedPacket(*values), direct=_direct(data[:4], data[base:], key))


def is_signed(data: bytes, key: bytes | None) -> bool:
    """Whether the base packet in `data` bears `key`'s digest; without a key nothing is asked for."""
    if key is None:
        return True
    signed = SIGNED_BYTES - DIGEST_BYTES
    return hmac.compare_digest(_digest(key, data[:signed]), data[signed:SIGNED_BYTES])


def split_extensions(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole extensions in `data`, each its type and all its bytes, and what is left that is none."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while len(data) - at >= EXTENSION.size and len(found) < EXTENSIONS_MAX:
        _, kind, length = EXTENSION.unpack_from(data, at)
        end = at + EXTENSION.size + length
        if end > len(data):
            break
        found.append((kind, data[at:end]))
        at = end
    return found, data[at:]


def reflect_extensions(sequence: bytes, data: bytes, key: bytes | None, counts: tuple[int, int] | None) -> bytes | None:
    """What a reflector sends back for the extensions in `data`, as long as they; None where their digest is wrong.

    `sequence` is the four bytes of the sender's own, and those of the reflector after them, which the digests cover.
    `counts` are packets received and sent, this one included; without them a direct measurement is not recognised.
    """
    if not data:
        return b""
    extensions, rest = split_extensions(data)
    if not _extensions_are_signed(sequence[:4], extensions, key):
        return None
    out = b""
    for kind, whole in extensions:
        length = len(whole) - EXTENSION.size
        if kind == EXTRA_PADDING:
            out += _marked(0, whole)
        elif kind == DIRECT_MEASUREMENT and counts is not None:
            if length != DIRECT.size:
                out += _marked(MALFORMED, whole)
                continue
            sent = DIRECT.unpack_from(whole, EXTENSION.size)[0]
            out += pack_extension(kind, DIRECT.pack(sent, *(count & 0xFFFFFFFF for count in counts)), 0)
        elif kind == HMAC and key is not None:
            out += pack_extension(kind, _digest(key, sequence[4:8] + out), 0)
        else:
            out += _marked(UNRECOGNISED, whole)
    # An extension that says to be longer than the packet; of less than its first four bytes nothing can be marked.
    return out + (_marked(MALFORMED, rest) if len(rest) >= EXTENSION.size else rest)


def _marked(flags: int, whole: bytes) -> bytes:
    return bytes([flags]) + whole[1:]


def _extensions_are_signed(sequence: bytes, extensions: list[tuple[int, bytes]], key: bytes | None) -> bool:
    """RFC 8972 section 4.8: with a key all must be signed but padding, and the digest stands behind the others."""
    if key is None:
        return True
    covered, signed = b"", False
    for kind, whole in extensions:
        if kind == HMAC:
            signed = hmac.compare_digest(_digest(key, sequence + covered), whole[EXTENSION.size :])
            if not signed:
                return False
        elif signed and kind != EXTRA_PADDING:
            return False
        covered += whole
    return signed or all(kind == EXTRA_PADDING for kind, _ in extensions)


def _direct(sequence: bytes, data: bytes, key: bytes | None) -> Direct | None:
    """The counts, where the reflector has recognised that they were asked for."""
    extensions, _ = split_extensions(data)
    if not extensions or not _extensions_are_signed(sequence, extensions, key):
        return None
    for kind, whole in extensions:
        if kind == DIRECT_MEASUREMENT and len(whole) == EXTENSION.size + DIRECT.size:
            return None if whole[0] & (UNRECOGNISED | MALFORMED) else Direct(*DIRECT.unpack_from(whole, EXTENSION.size))
    return None


def _sign(packet: bytes, key: bytes | None) -> bytes:
    return packet if key is None else packet + _digest(key, packet)


def _digest(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)[:DIGEST_BYTES]
