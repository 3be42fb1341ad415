"""What is wrong with a listening socket, or may surprise: found by comparing the listeners of a host with each other.

loopback    other hosts cannot reach it
one family  a client of the other family is refused, as `localhost` and names with two addresses often are
full        as many connections wait as may: further ones time out, while the processor is idle
shared      several sockets listen on the port (SO_REUSEPORT), and one is full: one in so many connections hangs
"""

from __future__ import annotations

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.columns import Mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from echowire.core.sockets.columns import Reader
    from echowire.core.sockets.sock_diag import Block


class Listener:
    """A listening socket, as far as it matters here. `host` is its address; `reaches` the families that it serves."""

    __slots__ = ("cookie", "host", "is_any", "is_loopback", "limit", "port", "reaches", "waiting")

    def __init__(self, cookie: int, host: bytes, port: int, waiting: int, limit: int, *, only_v6: bool = False) -> None:
        self.cookie, self.host, self.port, self.waiting, self.limit = cookie, host, port, waiting, limit
        self.is_any = not any(host)
        mapped = host[:12] == b"\0" * 10 + b"\xff\xff" and len(host) == 16
        self.is_loopback = (
            host[0] == 127 if len(host) == 4 else host == b"\0" * 15 + b"\1" or (mapped and host[12] == 127)
        )
        if len(host) == 4 or mapped:
            self.reaches = {4}
        else:
            self.reaches = {4, 6} if self.is_any and not only_v6 else {6}

    @property
    def is_full(self) -> bool:
        """Whether a connection that comes now must wait: the kernel lets one more in than the limit says."""
        return self.waiting > self.limit


def listeners(reader: Reader, blocks: Iterable[Block]) -> list[Listener]:
    """The listening sockets among the TCP ones of `blocks`."""
    found = []
    for block in blocks:
        rows = reader.raw(block, ("_state", "_sport", "_src", "_cookie", "_rqueue", "_wqueue"))
        if rows is None or block.layout.family not in (diag.AF_INET, diag.AF_INET6):
            continue
        only = reader.column(block, "v6only") or [False] * block.count
        for (state, port, host, cookie, waiting, limit), only_v6 in zip(rows, only, strict=True):
            if state == LISTEN:
                host = host[:4] if block.layout.family == diag.AF_INET else host
                found.append(Listener(cookie, host, diag.swapped(port), waiting, limit, only_v6=bool(only_v6)))
    return found


LISTEN = 10


def find_marks(found: Iterable[Listener]) -> dict[int, tuple[Mark, ...]]:
    """The marks of those listeners that have any, by their cookie."""
    by_port: dict[int, list[Listener]] = {}
    for one in found:
        by_port.setdefault(one.port, []).append(one)
    marks = {}
    for group in by_port.values():
        for one in group:
            if own := (*_reach(one, group), *_queue(one, group)):
                marks[one.cookie] = own
    return marks


def _reach(one: Listener, group: list[Listener]) -> Iterable[Mark]:
    if all(other.is_loopback for other in group):
        yield Mark("loopback only", "other hosts cannot reach it")
    if one.is_loopback or one.is_any:
        # What a client of the other family would meet instead: here all addresses, or those of loopback alike.
        alike = [other for other in group if other.is_any or (one.is_loopback and other.is_loopback)]
        reached = set().union(*(other.reaches for other in alike))
        if reached == {4}:
            yield Mark("IPv4 only", "a client that tries ::1 or another IPv6 address is refused")
        elif reached == {6}:
            yield Mark("IPv6 only", "a client that tries 127.0.0.1 or another IPv4 address is refused")


def _queue(one: Listener, group: list[Listener]) -> Iterable[Mark]:
    together = [other for other in group if other.host == one.host]
    if one.is_full:
        yield Mark(
            f"full: {one.waiting} wait, {one.limit} may",
            "connections are not accepted fast enough; further ones are dropped and time out",
        )
    elif any(other.is_full for other in together):
        yield Mark(
            f"shares its port with a full one of {len(together)}",
            f"SO_REUSEPORT: about one in {len(together)} connections hangs; find who does not accept",
        )
