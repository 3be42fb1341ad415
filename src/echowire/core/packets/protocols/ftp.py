"""FTP's control connection (RFC 959), and the data connection at the server's port 20."""

from __future__ import annotations

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol
from echowire.core.packets.protocols.text_lines import lines, requests, said, told
from echowire.core.packets.walk import Walk

PORT, DATA_PORT = 21, 20
MAX_PASSIVE_PARTS = 6

_IS_REQUEST = Field("ftp.request", "Request", Type.BOOLEAN, hidden=True)
_COMMAND = Field("ftp.request.command", "Request command", Type.STRING)
_ARGUMENT = Field("ftp.request.arg", "Request arg", Type.STRING)
_IS_RESPONSE = Field("ftp.response", "Response", Type.BOOLEAN, hidden=True)
_CODE = Field("ftp.response.code", "Response code", Type.UINT32)
_TEXT = Field("ftp.response.arg", "Response arg", Type.STRING)
_PASSIVE_ADDRESS = Field("ftp.passive.ip", "Passive IP address", Type.IPV4)
_PASSIVE_PORT = Field("ftp.passive.port", "Passive port", Type.UINT16)
_ACTIVE_ADDRESS = Field("ftp.active.cip", "Active IP address", Type.IPV4)
_ACTIVE_PORT = Field("ftp.active.port", "Active port", Type.UINT16)

PASSIVE = 227


def _walk(walk: Walk) -> None:
    is_request = requests(walk.layer, (PORT,))[walk.entry]
    first = True
    for at, end, line in lines(walk):
        if first:
            told(walk.layer)[walk.entry] = f"{'Request' if is_request else 'Response'}: {line}"
            walk.add(_IS_REQUEST, is_request, 0, 0)
            walk.add(_IS_RESPONSE, not is_request, 0, 0)
            first = False
        with walk.subtree(f"{line}\\r\\n", at, end - at):
            (_request if is_request else _response)(walk, at, line)


def _request(walk: Walk, at: int, line: str) -> None:
    command, _, argument = line.partition(" ")
    walk.add(_COMMAND, command, at, len(command))
    if argument:
        walk.add(_ARGUMENT, argument, at + len(command) + 1, len(argument.encode()))
    if command.upper() == "PORT":
        _endpoint(walk, argument, _ACTIVE_ADDRESS, _ACTIVE_PORT)


def _response(walk: Walk, at: int, line: str) -> None:
    code = line[:3]
    if len(code) == 3 and code.isascii() and code.isdigit():
        walk.add(_CODE, int(code), at, 3)
        line, at = line[4:], at + 4
    if line:
        walk.add(_TEXT, line, at, len(line.encode()))
    if code == str(PASSIVE):
        _endpoint(walk, line.rpartition("(")[2].partition(")")[0], _PASSIVE_ADDRESS, _PASSIVE_PORT)


def _endpoint(walk: Walk, text: str, address: Field, port: Field) -> None:
    """`h1,h2,h3,h4,p1,p2`: where data shall go (RFC 959, 4.1.2)."""
    parts = text.split(",", MAX_PASSIVE_PARTS)
    if len(parts) != MAX_PASSIVE_PARTS or not all(one.isascii() and one.isdigit() and len(one) < 4 for one in parts):
        return
    numbers = [int(one) for one in parts]
    if max(numbers) < 256:
        walk.add(address, int.from_bytes(bytes(numbers[:4]), "big"), 0, 0)
        walk.add(port, 256 * numbers[4] + numbers[5], 0, 0)


PROTOCOLS = (
    Protocol(
        "ftp",
        "File Transfer Protocol (FTP)",
        "FTP",
        fields=(
            *(_IS_REQUEST, _COMMAND, _ARGUMENT, _IS_RESPONSE, _CODE, _TEXT),
            *(_PASSIVE_ADDRESS, _PASSIVE_PORT, _ACTIVE_ADDRESS, _ACTIVE_PORT),
        ),
        keys=(("tcp.port", PORT),),
        walk=_walk,
        info=said,
    ),
    Protocol(
        "ftp-data",
        "FTP Data",
        "FTP-DATA",
        keys=(("tcp.port", DATA_PORT),),
        label=lambda layer: [f" ({size} bytes data)" for size in (layer.wire_end - layer.start).tolist()],
        info=lambda layer: [f"FTP Data: {size} bytes" for size in (layer.wire_end - layer.start).tolist()],
    ),
)
