"""Mail: SMTP (RFC 5321), POP3 (RFC 1939) and IMAP4 (RFC 9051), line by line."""

from __future__ import annotations

from dataclasses import dataclass

from echowire.core.packets.columns import Type
from echowire.core.packets.conversation import sockets
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.protocols.text_lines import lines, requests, said, told
from echowire.core.packets.walk import Walk

SMTP_PORTS, POP_PORTS, IMAP_PORTS = (25, 587), (110,), (143,)
STATUSES = ("OK", "NO", "BAD")
"""What IMAP's server says at last of each command (RFC 9051, 7.1)."""

MAX_TALKS = 50_000
"""Conversations whose state is kept; the oldest is forgotten first."""


@dataclass(slots=True)
class _Talk:
    """Where an SMTP conversation is: what the client sends is no command while it sends a message or speaks TLS."""

    in_data: bool = False
    wants_tls: bool = False
    in_tls: bool = False


def _talk(walk: Walk) -> _Talk:
    return walk.memory.of_each("smtp talks", sockets(walk.layer)[walk.entry], _Talk, MAX_TALKS)


_IS_REQUEST = Field("smtp.req", "Request", Type.BOOLEAN, hidden=True)
_IS_RESPONSE = Field("smtp.rsp", "Response", Type.BOOLEAN, hidden=True)
_LINE = Field("smtp.command_line", "Command Line", Type.STRING)
_COMMAND = Field("smtp.req.command", "Command", Type.STRING)
_PARAMETER = Field("smtp.req.parameter", "Request parameter", Type.STRING)
_RESPONSE = Field("smtp.response", "Response", Type.STRING)
_CODE = Field("smtp.response.code", "Response code", Type.UINT32)
_TEXT = Field("smtp.rsp.parameter", "Response parameter", Type.STRING)


def _walk_smtp(walk: Walk) -> None:
    talk = _talk(walk)
    if talk.in_tls:
        walk.hand_on("tcp.port", 443, 0, walk.wire_size)
    elif not requests(walk.layer, SMTP_PORTS)[walk.entry]:
        _smtp_response(walk, talk)
    elif talk.in_data:
        size = walk.wire_size
        told(walk.layer)[walk.entry] = f"C: DATA fragment, {size} byte{'' if size == 1 else 's'}"
        if walk.data.endswith(b"\n.\r\n") or walk.data == b".\r\n":
            talk.in_data = False
    else:
        _smtp_request(walk, talk)


def _smtp_request(walk: Walk, talk: _Talk) -> None:
    walk.add(_IS_REQUEST, True, 0, 0)
    heard = []
    for at, end, line in lines(walk):
        command, _, rest = line.partition(" ")
        heard.append(line)
        walk.add(_LINE, f"{line}\r\n", at, end - at, f"Command Line: {line}\\r\\n")
        with walk.subtree():
            walk.add(_COMMAND, command[:4] if len(command) > 8 else command, at, len(command.encode()))
            if rest:
                walk.add(_PARAMETER, rest, at + len(command.encode()) + 1, len(rest.encode()))
        talk.wants_tls = command.upper() == "STARTTLS"
        if command.upper() == "DATA":
            talk.in_data = True
            break
    told(walk.layer)[walk.entry] = f"C: {' | '.join(heard)}"


def _smtp_response(walk: Walk, talk: _Talk) -> None:
    walk.add(_IS_RESPONSE, True, 0, 0)
    heard: list[str] = []
    before = ""
    for at, end, line in lines(walk):
        code, parameter = line[:3], line[4:]
        known = len(code) == 3 and code.isascii() and code.isdigit()
        heard.append(line if not heard or not known else parameter)
        if code != before or not known:
            walk.add(_RESPONSE, f"{line}\r\n", at, end - at, f"Response: {line}\\r\\n")
        with walk.subtree():
            if known and code != before:
                walk.add(_CODE, int(code), at, 3)
            if known and parameter:
                walk.add(_TEXT, parameter, at + 4, len(parameter.encode()))
        before = code
        if talk.wants_tls and code == "220":
            talk.in_tls = True
        if code == "354":
            talk.in_data = True
    told(walk.layer)[walk.entry] = f"S: {' | '.join(heard)}"


_POP_COMMAND = Field("pop.request.command", "Request command", Type.STRING)
_POP_PARAMETER = Field("pop.request.parameter", "Request parameter", Type.STRING)
_POP_INDICATOR = Field("pop.response.indicator", "Response indicator", Type.STRING)
_POP_DESCRIPTION = Field("pop.response.description", "Response description", Type.STRING)


def _walk_pop(walk: Walk) -> None:
    is_request = requests(walk.layer, POP_PORTS)[walk.entry]
    for number, (at, end, line) in enumerate(lines(walk)):
        first, _, rest = line.partition(" ")
        if number == 0:
            if not is_request and first not in ("+OK", "-ERR"):
                told(walk.layer)[walk.entry] = f"S: DATA fragment, {walk.wire_size} bytes"
                return
            told(walk.layer)[walk.entry] = f"{'C' if is_request else 'S'}: {line}"
            with walk.subtree(f"{line}\\r\\n", at, end - at):
                walk.add(_POP_COMMAND if is_request else _POP_INDICATOR, first, at, len(first))
                if rest:
                    where = at + len(first) + 1
                    walk.add(_POP_PARAMETER if is_request else _POP_DESCRIPTION, rest, where, len(rest.encode()))
        else:
            walk.add_text(f"{line}\\r\\n", at, end - at)


_IMAP_IS_REQUEST = Field("imap.isrequest", "Request", Type.BOOLEAN, hidden=True)
_IMAP_LINE = Field("imap.line", "Line", Type.STRING)
_IMAP_REQUEST = Field("imap.request", "Request", Type.STRING)
_IMAP_REQUEST_TAG = Field("imap.request_tag", "Request Tag", Type.STRING)
_IMAP_COMMAND = Field("imap.request.command", "Request Command", Type.STRING)
_IMAP_RESPONSE = Field("imap.response", "Response", Type.STRING)
_IMAP_RESPONSE_TAG = Field("imap.response_tag", "Response Tag", Type.STRING)
_IMAP_STATUS = Field("imap.response.status", "Response Status", Type.STRING)


def _walk_imap(walk: Walk) -> None:
    is_request = requests(walk.layer, IMAP_PORTS)[walk.entry]
    walk.add(_IMAP_IS_REQUEST, is_request, 0, 0)
    for number, (at, end, line) in enumerate(lines(walk)):
        tag, _, rest = line.partition(" ")
        first = rest.partition(" ")[0]
        tagged = bool(rest) and tag not in ("*", "+") and (is_request or first in STATUSES)
        if number == 0 or tagged:
            told(walk.layer)[walk.entry] = f"{'Request' if is_request else 'Response'}: {line}"
        walk.add(_IMAP_LINE, f"{line}\r\n", at, end - at, f"Line: {line}\\r\\n")
        if not tagged:
            continue
        with walk.subtree():
            walk.add(_IMAP_REQUEST if is_request else _IMAP_RESPONSE, line, at, end - at)
            walk.add(_IMAP_REQUEST_TAG if is_request else _IMAP_RESPONSE_TAG, tag, at, len(tag.encode()))
            where = at + len(tag.encode()) + 1
            walk.add(_IMAP_COMMAND if is_request else _IMAP_STATUS, first, where, len(first.encode()))


PROTOCOLS = (
    Protocol(
        "smtp",
        "Simple Mail Transfer Protocol",
        "SMTP",
        fields=(_IS_REQUEST, _LINE, _COMMAND, _PARAMETER, _IS_RESPONSE, _RESPONSE, _CODE, _TEXT),
        keys=tuple(("tcp.port", port) for port in SMTP_PORTS),
        tables=("tcp.port",),
        walk=_walk_smtp,
        info=said,
    ),
    Protocol(
        "pop",
        "Post Office Protocol",
        "POP",
        fields=(_POP_COMMAND, _POP_PARAMETER, _POP_INDICATOR, _POP_DESCRIPTION),
        keys=tuple(("tcp.port", port) for port in POP_PORTS),
        walk=_walk_pop,
        info=said,
    ),
    Protocol(
        "imap",
        "Internet Message Access Protocol",
        "IMAP",
        fields=(
            *(_IMAP_IS_REQUEST, _IMAP_LINE, _IMAP_REQUEST, _IMAP_REQUEST_TAG, _IMAP_COMMAND, _IMAP_RESPONSE),
            *(_IMAP_RESPONSE_TAG, _IMAP_STATUS),
        ),
        keys=tuple(("tcp.port", port) for port in IMAP_PORTS),
        walk=_walk_imap,
        info=said,
    ),
)
