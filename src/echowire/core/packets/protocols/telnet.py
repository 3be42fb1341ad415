"""Telnet (RFC 854): text, with commands between that begin with the byte 255."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.layout import text
from echowire.core.packets.walk import Walk

IAC, SE, SB, WILL, DONT = 255, 240, 250, 251, 254

_COMMANDS = {
    236: "End of File",
    237: "Suspend Current Process",
    238: "Abort Process",
    239: "End of Record",
    SE: "Suboption End",
    241: "No Operation",
    242: "Data Mark",
    243: "Break",
    244: "Interrupt Process",
    245: "Abort Output",
    246: "Are You There?",
    247: "Escape Character",
    248: "Erase Line",
    249: "Go Ahead",
    SB: "Suboption",
    WILL: "Will",
    252: "Won't",
    253: "Do",
    DONT: "Don't",
}
_OPTIONS = {
    0: "Binary Transmission",
    1: "Echo",
    3: "Suppress Go Ahead",
    5: "Status",
    6: "Timing Mark",
    24: "Terminal Type",
    25: "End of Record",
    31: "Negotiate About Window Size",
    32: "Terminal Speed",
    33: "Remote Flow Control",
    34: "Linemode",
    35: "X Display Location",
    36: "Environment Option",
    37: "Authentication Option",
    38: "Encryption Option",
    39: "New Environment Option",
    40: "TN3270E",
    44: "COM Port Control",
}

_COMMAND = Field("telnet.cmd", "Command", Type.UINT8, names=_COMMANDS)
_OPTION = Field("telnet.subcmd", "Subcommand", Type.UINT8, names=_OPTIONS)
_OPTION_DATA = Field("telnet.option_data", "Option data", Type.BYTES)
_DATA = Field("telnet.data", "Data", Type.STRING)


def _walk(walk: Walk) -> None:
    at = 0
    while at < walk.size:
        is_command = walk.data[at] == IAC and walk.u8(at + 1) != IAC
        at = _command(walk, at) if is_command else _text(walk, at)


def _text(walk: Walk, at: int) -> int:
    """A line, up to the next command. The byte 255 itself is sent twice."""
    end = at
    while end < walk.size:
        if walk.data[end] == IAC:
            if walk.data[end + 1 : end + 2] != b"\xff":
                break
            end += 1
        end += 1
        if walk.data[end - 1] == ord("\n"):
            break
    walk.add(_DATA, text(walk.data[at:end]), at, end - at)
    return end


def _command(walk: Walk, at: int) -> int:
    code = walk.u8(at + 1)
    name = _COMMANDS.get(code, "<unknown option>")
    if not (code == SB or WILL <= code <= DONT):
        with walk.subtree(name, at, 2):
            walk.add_uint(_COMMAND, at + 1)
        return at + 2
    option = walk.u8(at + 2)
    end = at + 3
    if code == SB:
        while end < walk.size and (walk.data[end] != IAC or walk.data[end + 1 : end + 2] == b"\xff"):
            end += 2 if walk.data[end] == IAC else 1
        end = min(end, walk.size)
    with walk.subtree(f"{name} {_OPTIONS.get(option, '<unknown option>')}", at, end - at):
        walk.add_uint(_COMMAND, at + 1)
        walk.add_uint(_OPTION, at + 2)
        if end > at + 3:
            walk.add(_OPTION_DATA, walk.take(at + 3, end - at - 3), at + 3, end - at - 3)
    return end


PROTOCOLS = (
    Protocol(
        "telnet",
        "Telnet",
        "TELNET",
        fields=(_COMMAND, _OPTION, _OPTION_DATA, _DATA),
        keys=(("tcp.port", 23),),
        walk=_walk,
        info=lambda layer: ["Telnet Data ..."] * len(layer),
    ),
)
