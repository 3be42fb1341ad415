"""The processes of a packet: as options of its block in pcapng, and as fields, whether captured now or read later.

    epb_processid_threadid    process 4 | thread 4: the sender's if it is of this host, else the receiver's
    opt_comment               process: curl[812] (alice) → nginx[99] (root, nginx.service)

The comment has both ends, where both are known, and names; older tools show it as it is. Whoever reads the file has
them back as `proc.pid`, `proc.name` and their like, the sender's before the receiver's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from echowire.core.captures.numbers import MAX_NOTE_BYTES
from echowire.core.captures.records import COMMENT
from echowire.core.packets.columns import Column, Type, objects
from echowire.core.packets.layers import Field, Layer, Picked

EPB_PROCESSID_THREADID = 8
"""draft-ietf-opsawg-pcapng, section 4.3."""

BEGIN = "process: "
_SIDE = r"(.{0,40}?)\[(\d{1,10})\](?: \((.*?)\))?"
_COMMENT = re.compile(rf"{BEGIN}(?:{_SIDE} )?→(?: {_SIDE})?", re.DOTALL)

PROCESS_BYTES = 12
COMMENT_BYTES = MAX_NOTE_BYTES - PROCESS_BYTES - 4


class Owner(NamedTuple):
    """Whose socket it is."""

    pid: int
    name: str
    """The process's, 15 bytes at most (proc_pid_comm(5))."""
    of: str = ""
    """Its user, and its container or systemd unit, if any."""
    thread: int = 0
    """That opened it; 0 where it is not known."""

    def __str__(self) -> str:
        return f"{self.name}[{self.pid}]" + (f" ({self.of})" if self.of else "")


OwnerPair: TypeAlias = tuple[Owner | None, Owner | None]
"""Sender and receiver."""


@lru_cache(4096)
def note(sender: Owner | None, receiver: Owner | None) -> bytes:
    """The options for a packet between these, of whom one is known: padded, without opt_endofopt."""
    first = sender or receiver
    assert first is not None
    raw = _comment(sender, receiver)
    if len(raw) > COMMENT_BYTES:  # then without users and units, which are what can be long
        raw = _comment(*(one._replace(of="") if one else None for one in (sender, receiver)))
    options = struct.pack("<HHII", EPB_PROCESSID_THREADID, 8, first.pid, first.thread)
    return options + struct.pack("<HH", COMMENT, len(raw)) + raw + bytes(-len(raw) % 4)


def _comment(sender: Owner | None, receiver: Owner | None) -> bytes:
    said = f"{BEGIN}{sender} →" if sender else f"{BEGIN}→"
    return (f"{said} {receiver}" if receiver else said).encode("utf-8", "replace")


@lru_cache(4096)
def sides(comment: str) -> OwnerPair | None:
    """Sender and receiver that a comment names; None of any other comment."""
    # One that is longer is none of ours, and may be made to be looked at for ever.
    found = _COMMENT.fullmatch(comment) if len(comment) <= MAX_NOTE_BYTES else None
    if not found:
        return None
    name, pid, of, peer, peer_pid, peer_of = found.groups()
    return (
        Owner(int(pid), name, of or "") if pid else None,
        Owner(int(peer_pid), peer, peer_of or "") if peer_pid else None,
    )


def owners_of(layer: Layer) -> dict[int, OwnerPair]:
    """Sender and receiver of the packets that have any, by row, given the layer of all."""
    return {row: (sender, receiver) for row, sender, receiver in _owners(layer)}


def _owners(layer: Layer) -> list[tuple[int, Owner | None, Owner | None]]:
    """Row, sender and receiver of each packet that has any."""

    def made() -> list[tuple[int, Owner | None, Owner | None]]:
        found = []
        for row in layer.records.option_row.tolist():
            for comment in layer.records.comments(row):
                if comment.startswith(BEGIN) and (both := sides(comment)):
                    found.append((row, *both))
        return found

    return layer.once("processes", made)


def _field(value: Callable[[Owner], object], which: slice, column: Callable[[list[object]], Column]) -> object:
    def make(layer: Layer) -> Picked:
        rows, values = [], []
        for row, *both in _owners(layer):
            for one in both[which]:
                if one is not None:
                    rows.append(row)
                    values.append(value(one))
        return Picked(np.array(rows, np.int64), column(values))

    return make


def _fields(name: str, label: str, kind: Type, value: Callable[[Owner], object]) -> list[Field]:
    def column(values: list[object]) -> Column:
        return np.array(values, np.uint32) if kind is Type.UINT32 else objects(values)

    ends = (("", "", slice(0, 2)), ("src", "Sender's ", slice(0, 1)), ("dst", "Receiver's ", slice(1, 2)))
    return [
        Field(f"proc.{end}{name}", f"{who}{label}", kind, make=_field(value, which, column), generated=True)  # type: ignore[arg-type]
        for end, who, which in ends
    ]


PROCESS_FIELDS: tuple[Field, ...] = (
    *_fields("pid", "Process", Type.UINT32, lambda one: one.pid),
    *_fields("name", "Process Name", Type.STRING, lambda one: one.name),
    *_fields("of", "Process User and Unit", Type.STRING, lambda one: one.of),
)
"""`proc.pid`, `proc.name`, `proc.of` of both ends, and `proc.srcpid`, `proc.dstpid`, … of one: fields of the frame."""
