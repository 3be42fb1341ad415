"""Raw sockets of /proc/net/raw, put in the form of sock_diag: for kernels without its module for them."""

from __future__ import annotations

from struct import pack

from echowire.core.sockets.netlink import HEADER, HEADER_BYTES
from echowire.core.sockets.sock_diag import AF_INET6, SOCK_DIAG_BY_FAMILY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NET = "/proc/thread-self/net/"
"""This thread's network namespace."""


def raw_messages(family: int) -> bytes:
    """The raw sockets of `family` as messages that sock_diag would give. Raises `OSError` where there is no table."""
    with open(NET + ("raw6" if family == AF_INET6 else "raw"), encoding="ascii", errors="replace") as file:  # noqa: PTH123
        return b"".join(parse_raw(file, family))


def parse_raw(lines: Iterable[str], family: int) -> Iterator[bytes]:
    """One `struct inet_diag_msg` with netlink's header for each line, the heading left out (proc_pid_net(5)).

    The port is the protocol, as sock_diag has it too.
    """
    for line in lines:
        words = line.split()
        if len(words) < 10 or words[0] == "sl":
            continue
        (source, port), (target, peer) = packed_address(words[1]), packed_address(words[2])
        sending, _, receiving = words[4].partition(":")
        body = pack("=BBBB", family, int(words[3], 16), 0, 0)
        body += pack(">HH16s16s", port, peer, source, target) + pack("=IQ", 0, 0)
        body += pack("=IIIII", 0, int(receiving, 16), int(sending, 16), int(words[7]), int(words[9]))
        yield pack(HEADER, HEADER_BYTES + len(body), SOCK_DIAG_BY_FAMILY, 0, 0, 0) + body


def packed_address(text: str) -> tuple[bytes, int]:
    """Address and port of `0100007F:0001`: each 32 bits of the address are one number of this machine's byte order."""
    digits, _, port = text.partition(":")
    words = (pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    return b"".join(words), int(port, 16)
