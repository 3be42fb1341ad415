"""IRC (RFC 2812, 2.3.1): a prefix, a command, parameters, and a trailer with blanks in it."""

from __future__ import annotations

from typing import NamedTuple

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.protocols.text_lines import lines, requests, said, told
from echowire.core.packets.walk import Walk

PORTS = (6667, 57000)


class _Side(NamedTuple):
    """The fields of what one side says."""

    name: str
    line: Field
    prefix: Field
    command: Field
    parameter: Field
    trailer: Field


def _side(name: str, label: str) -> _Side:
    return _Side(
        label,
        Field(f"irc.{name}", label, Type.STRING),
        Field(f"irc.{name}.prefix", "Prefix", Type.STRING),
        Field(f"irc.{name}.command", "Command", Type.STRING),
        Field(f"irc.{name}.command_parameter", "Parameter", Type.STRING),
        Field(f"irc.{name}.trailer", "Trailer", Type.STRING),
    )


_REQUEST, _RESPONSE = _side("request", "Request"), _side("response", "Response")
_NUMBER = Field("irc.response.num_command", "Command", Type.UINT16, hidden=True)


def _walk(walk: Walk) -> None:
    side = _REQUEST if requests(walk.layer, PORTS)[walk.entry] else _RESPONSE
    commands = []
    for at, end, line in lines(walk):
        if not line:
            continue
        walk.add(side.line, line, at, end - at)
        with walk.subtree():
            command = _message(walk, side, line, at, end - at)
        if command:
            commands.append(f" ({command})")
    told(walk.layer)[walk.entry] = side.name + "".join(commands)


def _message(walk: Walk, side: _Side, line: str, at: int, size: int) -> str:
    rest = line
    if rest.startswith(":"):
        prefix, _, rest = rest[1:].partition(" ")
        walk.add(side.prefix, prefix, at, size)
    rest, colon, trailer = rest.lstrip(" ").partition(" :")
    command, *parameters = rest.split() or [""]
    if command:
        if side is _RESPONSE and command.isascii() and command.isdigit() and len(command) == 3:
            walk.add(_NUMBER, int(command), at, size, f"Command: {command}")
        walk.add(side.command, command, at, size)
    if parameters:
        with walk.subtree("Command parameters", at, size):
            for one in parameters:
                walk.add(side.parameter, one, at, size)
    if colon:
        walk.add(side.trailer, trailer, at, size)
    return command


PROTOCOLS = (
    Protocol(
        "irc",
        "Internet Relay Chat",
        "IRC",
        fields=(*_REQUEST[1:], *_RESPONSE[1:], _NUMBER),
        keys=tuple(("tcp.port", port) for port in PORTS),
        walk=_walk,
        info=said,
    ),
)
