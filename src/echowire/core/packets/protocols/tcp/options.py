"""TCP's options: the list's own (RFC 9293), timestamps and window scale (RFC 7323), SACK (RFC 2018 and 2883), MD5
(RFC 2385), TCP-AO (RFC 5925), user timeout (RFC 5482), Fast Open (RFC 7413), Quick-Start (RFC 4782), echo (RFC 1072),
T/TCP's (RFC 1644), SCPS' (CCSDS 714.0), accurate ECN (draft-ietf-tcpm-accurate-ecn), experiments (RFC 6994).

Each option is a part of its own, found by its kind. One that has another length than its kind is shown by kind and
length alone. What the packet list says of options is in `option_texts.py`; Multipath TCP is in
`echowire.core.packets.protocols.mptcp`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.records import Rows
from echowire.core.packets.columns import Column, Type, gather_uint, objects
from echowire.core.packets.layers import Field, Layer, Picked, Protocol
from echowire.core.packets.protocols.tcp.option_names import COUNTERS, EXPERIMENTS, FAST_OPEN, KINDS, ORDER_1, RATES
from echowire.core.packets.streams import Mask
from echowire.core.packets.tcp.header import WORD
from echowire.core.packets.tcp.options import (
    END,
    MSS,
    NOP,
    SACK,
    SACK_PERMITTED,
    TIMESTAMPS,
    WINDOW_SCALE,
)
from echowire.core.packets.tcp.segments import MAX_SHIFT, segments

KIND = Field("tcp.option_kind", "Kind", Type.UINT8, 0, names=KINDS)
LENGTH = Field("tcp.option_len", "Length", Type.UINT8, 1)


def sizes(layer: Layer) -> Rows:
    """Bytes of each option, as it says."""
    return layer.wire_end - layer.start


def of_size(size: int) -> Callable[[Layer], Mask]:
    """Which options have exactly so many bytes."""

    def holds(layer: Layer) -> Mask:
        found: Mask = sizes(layer) == size
        return found

    return holds


def bytes_from(at: int, when: Callable[[Layer], Mask] | None = None) -> Callable[[Layer], Picked]:
    """All bytes of an option from `at` on, of those that have any there, and for which `when` holds."""

    def find(layer: Layer) -> Picked:
        there = layer.end > layer.start + at
        index = np.flatnonzero(there if when is None else there & when(layer))
        return Picked(index, objects([layer.payload(entry)[at:] for entry in index.tolist()]))

    return find


def _option(
    name: str,
    title: str,
    kinds: Sequence[int],
    fields: Sequence[Field] = (),
    label: Callable[[Layer], Sequence[str]] | None = None,
) -> Protocol:
    itself = Field(f"tcp.options.{name}", f"TCP Option - {title}", Type.BYTES, make=bytes_from(0))
    single = bool(kinds) and kinds[0] in (END, NOP)
    return Protocol(
        itself.name,
        itself.label,
        fields=(itself, KIND, *(() if single else (LENGTH,)), *fields),
        keys=tuple(("tcp.option", kind) for kind in kinds),
        label=label,
        is_part=True,
        under="tcp.options",
    )


def _number(name: str, label: str, kind: Type, at: int, whole: int, **more: Any) -> Field:
    """A number at a fixed place, of options that have exactly `whole` bytes."""
    return Field(f"tcp.options.{name}", label, kind, at, when=of_size(whole), **more)


def _saying(text: Callable[[Layer], Sequence[str]], size: int) -> Callable[[Layer], Sequence[str]]:
    """A label for options of `size` bytes that were captured whole; the others say nothing."""

    def label(layer: Layer) -> Sequence[str]:
        good = of_size(size)(layer) & layer.has(size)
        return [one if fits else "" for one, fits in zip(text(layer), good.tolist(), strict=True)]

    return label


def _mss_label(layer: Layer) -> Sequence[str]:
    return [f": {one} bytes" for one in layer.uint(2, 2).tolist()]


def _timestamps_label(layer: Layer) -> Sequence[str]:
    pairs = zip(layer.uint(2, 4).tolist(), layer.uint(6, 4).tolist(), strict=True)
    return [f": TSval {value}, TSecr {echo}" for value, echo in pairs]


def _number_label(layer: Layer) -> Sequence[str]:
    return [f": {one}" for one in layer.uint(2, 4).tolist()]


# Window scale.


def _shift(layer: Layer) -> NDArray[np.uint8]:
    shift: NDArray[np.uint8] = np.minimum(layer.uint(2, 1), MAX_SHIFT).astype(np.uint8)
    return shift


def _multiplier(layer: Layer) -> Picked:
    index = np.flatnonzero(of_size(3)(layer) & layer.has(3))
    return Picked(index, (1 << _shift(layer)[index].astype(np.int64)).astype(np.uint16))


def _scale_label(layer: Layer) -> Sequence[str]:
    said = zip(layer.uint(2, 1).tolist(), _shift(layer).tolist(), strict=True)
    return [f": {shift} (multiply by {1 << used})" for shift, used in said]


# Selective acknowledgments.

MAX_EDGES = 9
"""Of all that fits in 38 bytes."""


def base_of(segment: Layer) -> Rows:
    """The sequence number that counts as 0 in the direction that a segment acknowledges."""
    stream = segments(segment)
    picked = stream.joined.picked(segment, stream.base_other)
    base = np.zeros(len(segment), np.int64)
    base[picked.index] = np.maximum(picked.values, 0)
    return base


def _base(layer: Layer) -> Rows:
    """The same for a layer of options."""
    assert layer.parent is not None
    return base_of(layer.parent)[layer.index]


def _edges(side: int) -> Callable[[Layer], Picked]:
    def find(layer: Layer) -> Picked:
        base, size = _base(layer), np.minimum(sizes(layer), layer.end - layer.start)
        found = [(np.flatnonzero(size >= 6 + 4 * place), 2 + 4 * place) for place in range(side, MAX_EDGES, 2)]
        index = np.concatenate([which for which, _ in found])
        values = [(gather_uint(layer.data, layer.start[which] + at, 4) - base[which]) & WORD for which, at in found]
        order = np.argsort(index, kind="stable")
        return Picked(index[order], np.concatenate(values)[order].astype(np.uint32))

    return find


def _blocks(layer: Layer) -> Column:
    return (np.maximum(sizes(layer) - 2, 0) // 8).astype(np.uint8)


def _sack_label(layer: Layer) -> Sequence[str]:
    texts = [""] * len(layer)
    left, right = _edges(0)(layer), _edges(1)(layer)
    rights = iter(zip(right.index.tolist(), right.values.tolist(), strict=True))
    following = next(rights, None)
    for entry, low in zip(left.index.tolist(), left.values.tolist(), strict=True):
        if following is not None and following[0] == entry:
            texts[entry] += f" {low}-{following[1]}"
            following = next(rights, None)
    return texts


def _is_duplicate(layer: Layer) -> Mask:
    """Whether the first block is a D-SACK (RFC 2883, section 4): acknowledged before, or within the second block."""
    segment = layer.parent
    assert segment is not None
    stream = segments(segment)
    picked = stream.joined.picked(segment, stream.relative_ack)
    ack = np.zeros(len(segment), np.int64)
    ack[picked.index] = picked.values
    base = _base(layer)
    edges = [(layer.uint(at, 4).astype(np.int64) - base) & WORD for at in (6, 10, 14)]
    size = np.minimum(sizes(layer), layer.end - layer.start)

    def after(one: Rows, other: Rows) -> Mask:
        ahead = (one - other) & WORD
        found: Mask = (ahead != 0) & (ahead < 1 << 31)
        return found

    within = (size >= 18) & after(edges[0], edges[1]) & ~after(edges[0], edges[2])
    found: Mask = (size >= 10) & (~after(edges[0], ack[layer.index]) | within)
    return found


def _duplicate_edge(at: int) -> Callable[[Layer], Picked]:
    def find(layer: Layer) -> Picked:
        index = np.flatnonzero(_is_duplicate(layer))
        values = (layer.uint(at, 4)[index].astype(np.int64) - _base(layer)[index]) & WORD
        return Picked(index, values.astype(np.uint32))

    return find


# Fast Open, experiments.


def _is_fast_open(layer: Layer) -> Mask:
    found: Mask = layer.uint(2, 2) == FAST_OPEN
    return found & layer.has(4) & (sizes(layer) >= 4)


def _is_other(layer: Layer) -> Mask:
    return ~_is_fast_open(layer)


def _request(at: int, when: Callable[[Layer], Mask] | None = None) -> Callable[[Layer], Picked]:
    """A Fast Open option without a cookie asks for one (RFC 7413, section 2)."""

    def find(layer: Layer) -> Picked:
        empty = sizes(layer) == at
        index = np.flatnonzero(empty if when is None else empty & when(layer))
        return Picked(index, np.ones(len(index), np.uint8))

    return find


def _experiment_label(layer: Layer) -> Sequence[str]:
    texts = []
    for identifier, size in zip(layer.uint(2, 2).tolist(), sizes(layer).tolist(), strict=True):
        texts.append(f": {EXPERIMENTS.get(identifier, 'Unknown')}" if size >= 4 else "")
    return texts


def _counters(layer: Layer) -> tuple[Rows, Rows]:
    """How many of the three counters each option has, and their values: int64[3, n] in the order of `COUNTERS`."""
    size = np.minimum(sizes(layer), layer.end - layer.start)
    values = np.stack([layer.uint(at, 3).astype(np.int64) for at in (2, 5, 8)])
    turned = layer.uint(0, 1) == ORDER_1
    return np.clip((size - 2) // 3, 0, 3), np.where(turned, values[::-1], values)


def _counter(number: int) -> Callable[[Layer], Picked]:
    def find(layer: Layer) -> Picked:
        count, values = _counters(layer)
        place = np.where(layer.uint(0, 1) == ORDER_1, 2 - number, number)
        index = np.flatnonzero(place < count)
        return Picked(index, values[number][index].astype(np.uint32))

    return find


def _counters_label(layer: Layer) -> Sequence[str]:
    names = [name.upper() for name in COUNTERS]
    texts = []
    count, values = _counters(layer)
    columns = (layer.uint(0, 1), count, values.T)
    for kind, there, three in zip(*(one.tolist() for one in columns), strict=True):
        pairs = [f"{name} {value}" for name, value in zip(names, three, strict=True)]
        pairs = (pairs[::-1] if kind == ORDER_1 else pairs)[:there]
        name = f" (Order {int(kind == ORDER_1)})"
        texts.append(f"{name}: {', '.join(pairs)}" if pairs else name)
    return texts


SCPS_FLAGS = (
    ("bets", "Partial Reliability Capable (BETS)", 0x80),
    ("snack1", "Short Form SNACK Capable (SNACK1)", 0x40),
    ("snack2", "Long Form SNACK Capable (SNACK2)", 0x20),
    ("compress", "Lossless Header Compression (COMP)", 0x10),
    ("nlts", "Network Layer Timestamp (NLTS)", 0x08),
)

SET = {0: "Not set", 1: "Set"}


PROTOCOLS = (
    _option("eol", "End of Option List (EOL)", (END,)),
    _option("nop", "No-Operation (NOP)", (NOP,)),
    _option(
        "mss",
        "Maximum segment size",
        (MSS,),
        (_number("mss_val", "MSS Value", Type.UINT16, 2, 4),),
        _saying(_mss_label, 4),
    ),
    _option(
        "wscale",
        "Window scale",
        (WINDOW_SCALE,),
        (
            _number("wscale.shift", "Shift count", Type.UINT8, 2, 3),
            Field("tcp.options.wscale.multiplier", "Multiplier", Type.UINT16, make=_multiplier, generated=True),
        ),
        _saying(_scale_label, 3),
    ),
    _option("sack_perm", "SACK permitted", (SACK_PERMITTED,)),
    _option(
        "sack",
        "SACK",
        (SACK,),
        (
            Field("tcp.options.sack_le", "TCP SACK Left Edge", Type.UINT32, make=_edges(0), remembered=True),
            Field("tcp.options.sack_re", "TCP SACK Right Edge", Type.UINT32, make=_edges(1), remembered=True),
            Field("tcp.options.sack.count", "TCP SACK Count", Type.UINT8, make=_blocks, generated=True),
            Field(
                "tcp.options.sack.dsack_le",
                "TCP D-SACK Left Edge",
                Type.UINT32,
                make=_duplicate_edge(2),
                generated=True,
                remembered=True,
            ),
            Field(
                "tcp.options.sack.dsack_re",
                "TCP D-SACK Right Edge",
                Type.UINT32,
                make=_duplicate_edge(6),
                generated=True,
                remembered=True,
            ),
        ),
        _sack_label,
    ),
    _option(
        "echo",
        "Echo",
        (6, 7),
        (_number("echo_value", "TCP Echo Option", Type.UINT32, 2, 6),),
        _saying(_number_label, 6),
    ),
    _option(
        "timestamp",
        "Timestamps",
        (TIMESTAMPS,),
        (
            _number("timestamp.tsval", "Timestamp value", Type.UINT32, 2, 10),
            _number("timestamp.tsecr", "Timestamp echo reply", Type.UINT32, 6, 10),
        ),
        _saying(_timestamps_label, 10),
    ),
    _option("cc", "CC", (11, 12, 13), (_number("cc_value", "TCP CC Option", Type.UINT32, 2, 6),)),
    _option("md5", "TCP MD5 signature", (19,), (_number("md5.digest", "MD5 digest", Type.BYTES, 2, 18, size=16),)),
    _option(
        "scps",
        "SCPS capabilities",
        (20,),
        (
            Field("tcp.options.scps.vector", "TCP SCPS Capabilities Vector", Type.UINT8, 2, base="hex"),
            *(
                Field(
                    f"tcp.options.scpsflags.{name}",
                    label,
                    Type.BOOLEAN,
                    2,
                    mask=mask,
                    names=SET,
                    under="tcp.options.scps.vector",
                )
                for name, label, mask in SCPS_FLAGS
            ),
            Field(
                "tcp.options.scpsflags.reserved",
                "Reserved",
                Type.UINT8,
                2,
                mask=0x07,
                under="tcp.options.scps.vector",
            ),
            Field("tcp.options.scps.binding", "Connection ID", Type.UINT8, 3),
        ),
    ),
    _option(
        "snack",
        "Selective Negative Acknowledgment",
        (21,),
        (
            _number("snack.offset", "TCP SNACK Offset", Type.UINT16, 2, 6),
            _number("snack.size", "TCP SNACK Size", Type.UINT16, 4, 6),
        ),
    ),
    _option("scpsrec", "SCPS record boundary", (22,)),
    _option("scpscor", "SCPS corruption experienced", (23,)),
    _option(
        "qs",
        "Quick-Start",
        (27,),
        (
            _number("qs.rate", "QS Rate", Type.UINT8, 2, 8, mask=0x0F, names=RATES),
            _number("qs.ttl_diff", "QS Rate", Type.UINT8, 3, 8),
        ),
    ),
    _option(
        "user_to",
        "User Timeout",
        (28,),
        (
            _number(
                "user_to_granularity",
                "Granularity",
                Type.BOOLEAN,
                2,
                4,
                size=2,
                mask=0x8000,
                names={0: "Seconds", 1: "Minutes"},
            ),
            _number("user_to_val", "User Timeout", Type.UINT16, 2, 4, mask=0x7FFF),
        ),
    ),
    _option(
        "ao",
        "TCP AO",
        (29,),
        (
            Field("tcp.options.ao.keyid", "AO KeyID", Type.UINT8, 2),
            Field("tcp.options.ao.rnextkeyid", "AO RNextKeyID", Type.UINT8, 3),
            Field("tcp.options.ao.mac", "AO MAC", Type.BYTES, make=bytes_from(4)),
        ),
    ),
    _option(
        "tfo",
        "TCP Fast Open",
        (34,),
        (
            Field("tcp.options.tfo.request", "Fast Open Cookie Request", Type.NONE, make=_request(2)),
            Field("tcp.options.tfo.cookie", "Fast Open Cookie", Type.BYTES, make=bytes_from(2)),
        ),
    ),
    _option(
        "acc_ecn",
        "Accurate ECN",
        (172, ORDER_1),
        tuple(
            Field(
                f"tcp.options.acc_ecn.{name}",
                f"Accurate ECN Echo {label} Byte Counter",
                Type.UINT24,
                make=_counter(number),
            )
            for number, (name, label) in enumerate(COUNTERS.items())
        ),
        _counters_label,
    ),
    _option(
        "experimental",
        "Experimental",
        (253, 254),
        (
            Field(
                "tcp.options.experimental.exid",
                "Experiment Identifier",
                Type.UINT16,
                2,
                base="hex",
                names=EXPERIMENTS,
                when=lambda layer: sizes(layer) >= 4,
            ),
            Field("tcp.options.tfo.request", "Fast Open Cookie Request", Type.NONE, make=_request(4, _is_fast_open)),
            Field("tcp.options.tfo.cookie", "Fast Open Cookie", Type.BYTES, make=bytes_from(4, _is_fast_open)),
            Field("tcp.options.experimental.data", "Data", Type.BYTES, make=bytes_from(4, _is_other)),
        ),
        _experiment_label,
    ),
    _option(
        "unknown", "Unknown", (), (Field("tcp.options.unknown.payload", "Payload", Type.BYTES, make=bytes_from(2)),)
    ),
)
