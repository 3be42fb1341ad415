"""TFTP (RFC 1350; RFC 2347 for options): asked for at port 69, answered from a port made for it.

So a transfer is known by its request: the client's socket and the server's address, whatever the server's port.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.columns import Type
from echowire.core.packets.conversation import Socket, directed
from echowire.core.packets.layers import Field, Layer, Memory, Protocol
from echowire.core.packets.layout import text
from echowire.core.packets.summary import infos, say
from echowire.core.packets.walk import Walk

PORT = 69
READ, WRITE, DATA, ACKNOWLEDGE, ERROR, OPTIONS = 1, 2, 3, 4, 5, 6
DEFAULT_BLOCK_BYTES = 512
MAX_TRANSFERS = 10_000
"""Requests remembered; the oldest is forgotten first."""

_OPCODES = {
    READ: "Read Request",
    WRITE: "Write Request",
    DATA: "Data Packet",
    ACKNOWLEDGE: "Acknowledgement",
    ERROR: "Error Code",
    OPTIONS: "Option Acknowledgement",
    255: "Information (MSDP)",
}
_ERRORS = {
    0: "Not defined",
    1: "File not found",
    2: "Access violation",
    3: "Disk full or allocation exceeded",
    4: "Illegal TFTP Operation",
    5: "Unknown transfer ID",
    6: "File already exists",
    7: "No such user",
    8: "Option negotiation failed",
}

Key = tuple[Socket, bytes]
"""The client's socket and the server's address."""


@dataclass(slots=True)
class _Transfer:
    """A transfer that was asked for."""

    frame: int
    opcode: int
    file: str
    block_bytes: int = DEFAULT_BLOCK_BYTES


_OPCODE = Field("tftp.opcode", "Opcode", Type.UINT16, names=_OPCODES)
_SOURCE = Field("tftp.source_file", "Source File", Type.STRING)
_DESTINATION = Field("tftp.destination_file", "Destination File", Type.STRING)
_REQUEST = Field("tftp.request_frame", "Request frame", Type.FRAME_NUMBER, generated=True)
_TYPE = Field("tftp.type", "Type", Type.STRING)
_BLOCK = Field("tftp.block", "Block", Type.UINT16)
_ERROR = Field("tftp.error.code", "Error code", Type.UINT16, names=_ERRORS)
_ERROR_MESSAGE = Field("tftp.error.message", "Error message", Type.STRING)
_OPTION_NAME = Field("tftp.option.name", "Option name", Type.STRING)
_OPTION_VALUE = Field("tftp.option.value", "Option value", Type.STRING)


def _transfers(memory: Memory) -> dict[Key, _Transfer]:
    return memory.of("tftp transfers", dict[Key, _Transfer])


def _keys(source: Socket, destination: Socket) -> tuple[Key, Key]:
    """What a datagram's transfer may be known by: its receiver is the client, or its sender is."""
    return (destination, source[0]), (source, destination[0])


def _asked_here(layer: Layer) -> dict[Key, int]:
    """The requests among the datagrams of a chunk, and their rows."""
    udp = layer.parent
    if udp is None or udp.protocol.name != "udp":
        return {}
    asks = np.flatnonzero((udp.uint(2, 2) == PORT) & udp.has(10) & np.isin(udp.uint(8, 2), (READ, WRITE)))
    if not len(asks):
        return {}
    found = Layer(
        layer.protocol, udp.records, udp.memory, udp.rows[asks], udp.start[asks], udp.end[asks], parent=udp, index=asks
    )
    rows = found.rows.tolist()
    return {(source, other[0]): row for row, (source, other) in zip(rows, directed(found), strict=True)}


def _guess(layer: Layer) -> NDArray[np.bool_]:
    """Datagrams of transfers that were asked for before."""
    out = np.zeros(len(layer), np.bool_)
    alike = np.flatnonzero(layer.has(4) & (layer.uint(0, 2) >= DATA) & (layer.uint(0, 2) <= OPTIONS))
    known = _transfers(layer.memory)
    here = _asked_here(layer) if len(alike) else {}
    if not len(alike) or not (here or known):
        return out
    rows, sockets = layer.rows.tolist(), directed(layer)
    for entry in alike.tolist():
        for key in _keys(*sockets[entry]):
            if key in known or here.get(key, rows[entry]) < rows[entry]:
                out[entry] = True
    return out


def _walk(walk: Walk) -> None:
    opcode = walk.add_uint(_OPCODE, 0)
    say(walk, _OPCODES.get(opcode, f"Unknown (0x{opcode:04x})"))
    source, destination = directed(walk.layer)[walk.entry]
    if opcode in (READ, WRITE):
        say(walk, _request(walk, opcode, (source, destination[0])))
        return
    transfer = next((found for key in _keys(source, destination) if (found := _transfers(walk.memory).get(key))), None)
    if transfer is not None:
        walk.add(_DESTINATION, transfer.file, 0, 0)
        asked = _OPCODES[transfer.opcode]
        walk.add(_REQUEST, transfer.frame, 0, 0, f"[{asked} in frame {transfer.frame}]")
    block_bytes = transfer.block_bytes if transfer else DEFAULT_BLOCK_BYTES
    if opcode in (DATA, ACKNOWLEDGE):
        say(walk, f", Block: {walk.add_uint(_BLOCK, 2)}")
        size = walk.wire_size - 4
        if opcode == DATA:
            say(walk, " (last)" if size < block_bytes else "")
            if size:
                walk.hand_on("tftp.data", 0, 4, size)
    elif opcode == ERROR:
        code = walk.add_uint(_ERROR, 2)
        message, _ = _text(walk, _ERROR_MESSAGE, 4)
        say(walk, f", Code: {_ERRORS.get(code, f'Unknown ({code})')}, Message: {message}")
    elif opcode == OPTIONS:
        options = _options(walk, 2)
        say(walk, "".join(f", {name}={value}" for name, value in options.items()))
        if transfer is not None and options.get("blksize", "").isdigit():
            transfer.block_bytes = int(options["blksize"][:5])


def _request(walk: Walk, opcode: int, key: Key) -> str:
    file, at = _text(walk, _SOURCE if opcode == READ else _DESTINATION, 2)
    kind, at = _text(walk, _TYPE, at)
    known = _transfers(walk.memory)
    known.pop(key, None)
    known[key] = _Transfer(int(walk.layer.records.number[walk.layer.rows[walk.entry]]), opcode, file)
    if len(known) > MAX_TRANSFERS:
        del known[next(iter(known))]
    options = "".join(f", {name}={value}" for name, value in _options(walk, at).items())
    return f", File: {file}, Transfer type: {kind}{options}"


def _text(walk: Walk, field: Field, at: int) -> tuple[str, int]:
    """A string up to a zero byte, and where the next one begins."""
    end = walk.data.find(b"\0", at)
    if end < 0:
        walk.need(at, walk.size - at + 1)  # it goes on behind what was captured
    value = text(walk.data[at:end])
    walk.add(field, value, at, end + 1 - at)
    return value, end + 1


def _options(walk: Walk, at: int) -> dict[str, str]:
    """Names and values (RFC 2347)."""
    found = {}
    while at < walk.wire_size:
        line = len(walk.items)
        with walk.subtree("Option: ", at, 0):
            begin = at
            name, at = _text(walk, _OPTION_NAME, at)
            value, at = _text(walk, _OPTION_VALUE, at)
        walk.items[line] = walk.items[line]._replace(text=f"Option: {name} = {value}", size=at - begin)
        found[name] = value
    return found


PROTOCOLS = (
    Protocol(
        "tftp",
        "Trivial File Transfer Protocol",
        "TFTP",
        fields=(
            *(_OPCODE, _SOURCE, _DESTINATION, _REQUEST, _TYPE, _BLOCK, _ERROR, _ERROR_MESSAGE),
            *(_OPTION_NAME, _OPTION_VALUE),
        ),
        keys=(("udp.port", PORT),),
        tables=("tftp.data",),
        walk=_walk,
        info=infos(),
        guess=_guess,
        guess_in=("udp.port",),
        guess_holds=False,
    ),
)
