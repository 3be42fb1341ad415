"""Sockets as lines of text in ss's words: the columns, and behind or below them what was asked for besides.

Every value has the name and the unit by which ss prints it (`rtt:0.043/0.02`, `skmem:(r0,rb131072,…)`), so that what
reads the one reads the other. All lines of a block are made at once: a column of strings for each part, then joined.
Most sockets of a host have most of their numbers in common with others, and text once made is kept by the bytes that
it was made of.
"""

from __future__ import annotations

from operator import add
from struct import unpack_from

from echowire.core.sockets import fields
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.sock_diag import swapped
from echowire.core.sockets.tcp_text import info_text, mptcp_text, ulp_text
from echowire.core.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from echowire.core.sockets.columns import Names, Reader
    from echowire.core.sockets.sock_diag import Block

    Ends = tuple[tuple[str, object], tuple[str, object]]

KEPT_TEXTS = 50_000
"""Texts kept by what they were made of: ten megabytes, and more than a host has sockets that differ."""

STATE_WIDTH, QUEUE_WIDTH, HOST_WIDTH, PORT_WIDTH = 11, 7, 16, 6
"""Of the columns: what an IPv4 endpoint needs. An IPv6 one takes the room that it takes, as in ss on a pipe."""

NETID_WIDTH = 6
"""Of the column Netid, which is there when several kinds are listed."""

_INET_ROW = {
    diag.AF_INET: ">17xBxxHH4s12x4s28x8s",
    diag.AF_INET6: ">17xBxxHH16s16s16x8s",
}
"""State, ports, addresses and queues of `struct inet_diag_msg` behind netlink's header, the ports as the network has
them; the queues are then not as this machine has them, and are read where they are not 0."""


_LISTENS = bytes((fields.LISTEN,))


class SocketShow:
    """What a line has besides its columns, and how numbers are shown."""

    def __init__(
        self,
        *,
        netid: bool = True,
        state: bool = True,
        timers: bool = False,
        extended: bool = False,
        memory: bool = False,
        info: bool = False,
        processes: bool = False,
        tos: bool = False,
        cgroup: bool = False,
        options: bool = False,
        marks: bool = True,
        is_numeric: bool = True,
        below: str = "\n\t",
        service: Callable[[str, int], str | None] | None = None,
        host: Callable[[str], str] | None = None,
        owner: Callable[[int], str | None] | None = None,
    ) -> None:
        self.netid, self.state = netid, state
        self.timers, self.extended, self.memory, self.info = timers, extended, memory, info
        self.processes, self.tos, self.cgroup, self.options = processes, tos, cgroup, options
        self.marks = marks
        self.is_numeric, self.below, self.service, self.host = is_numeric, below, service, host
        self.owner = owner


class SocketLines:
    """Makes the lines of blocks."""

    def __init__(self, reader: Reader, show: SocketShow) -> None:
        self.reader = reader
        self.names: Names = reader.names
        self.show = show
        self.hidden = 0
        """Sockets so far that somebody holds who may not be seen."""
        self._hosts = {
            None: _Made(lambda data: f"{self._named(data):>{HOST_WIDTH}}:"),
            False: _Made(lambda data: f"{f'[{self._named(data)}]' if any(data) else '*':>{HOST_WIDTH}}:"),
            True: _Made(lambda data: f"{f'[{self._named(data)}]':>{HOST_WIDTH}}:"),
        }
        """IPv4 addresses, IPv6 ones where `::` means IPv4's too, and where it does not."""
        self._ports: dict[str, _Made] = {}
        unknown = f"{'?':<{QUEUE_WIDTH}}" * 2 if "unread" in self.names.unknown else ""
        self._queues = _Made(
            lambda data: unknown or "".join(f"{size:<{QUEUE_WIDTH}}" for size in unpack_from("=II", data))
        )
        self._states = _Made(lambda netid: tuple(f"{self._netid(netid)}{self._state(name)}" for name in fields.STATES))
        self._users = _Made(lambda uid: f" uid:{uid}" if uid else "")
        self._timers, self._memories = _Made(_timer), _Made(_memory)
        self._details: dict[tuple[str, ...], _Made] = {}
        self._info_texts: dict[object, dict[Any, str]] = {}

    def heading(self) -> str:
        """The line above the table."""
        port = f":{'Port':<{PORT_WIDTH}}"
        ends = f"{'Local Address':>{HOST_WIDTH}}{port}{'Peer Address':>{HOST_WIDTH}}{port}"
        head = f"{self._state('State')}{'Recv-Q':<{QUEUE_WIDTH}}{'Send-Q':<{QUEUE_WIDTH}}{ends}"
        return self._netid("Netid") + head + ("Process" if self.show.processes else "")

    def lines(self, block: Block) -> list[str]:
        """One text a socket, without the end of the line; of several lines where something stands below."""
        parts = [self._base(block)]
        show = self.show
        if show.processes:
            parts.append(self._processes(block))
        if block.layout.family in (diag.AF_INET, diag.AF_INET6):
            parts += self._inet_parts(block)
        elif show.memory or show.extended:
            parts += self._other_parts(block)
        if len(parts) == 1:
            return parts[0]
        if len(parts) == 2:
            return [*map(add, *parts)]
        return ["".join(row) for row in zip(*parts, strict=True)]

    def _netid(self, name: str) -> str:
        return f"{name:<{NETID_WIDTH}}" if self.show.netid else ""

    def _state(self, name: str) -> str:
        return f"{name:<{STATE_WIDTH}}" if self.show.state else ""

    def _row(self, netid: str, state: str, queues: tuple[int, int], ends: Sequence[tuple[str, object]]) -> str:
        """The columns of one socket; `ends` are its own and the other's, as host and port."""
        (host, port), (peer, number) = ends
        return (
            f"{self._netid(netid)}{self._state(state)}{queues[0]:<{QUEUE_WIDTH}}{queues[1]:<{QUEUE_WIDTH}}"
            f"{host:>{HOST_WIDTH}}{port:<{PORT_WIDTH}}{peer:>{HOST_WIDTH}}{number:<{PORT_WIDTH}}"
        )

    def _base(self, block: Block) -> list[str]:
        family = block.layout.family
        if family in (diag.AF_INET, diag.AF_INET6):
            return self._inet(block, family)
        netids = self.reader.column(block, "netid") or [block.netid] * block.count
        states = self.reader.column(block, "state") or ["UNCONN"] * block.count
        queues = self.reader.raw(block, ("_rqueue", "_wqueue"))
        if queues is None:
            unread, unsent = self.reader.column(block, "unread"), self.reader.column(block, "unacked")
            queues = zip(unread or [0] * block.count, unsent or [0] * block.count, strict=True)
        ends = {
            diag.AF_UNIX: self._unix_ends,
            diag.AF_PACKET: self._packet_ends,
            diag.AF_NETLINK: self._netlink_ends,
            diag.AF_VSOCK: self._vsock_ends,
        }[family](block)
        return [
            self._row(netid, state, (one or 0, other or 0), both)
            for netid, state, (one, other), both in zip(netids, states, queues, ends, strict=True)
        ]

    def _inet(self, block: Block, family: int) -> list[str]:
        """The hot path: one pass over the messages, one formatted string each."""
        if block.netid == "raw" and block.length(diag.PROTOCOL) >= 0:
            return self._inet_slowly(block)
        if any(block.data[56 + at :: block.layout.size] != bytes(block.count) for at in range(4)):
            return self._inet_slowly(block)
        only = None if family == diag.AF_INET else self.reader.column(block, "v6only") or [False]
        if only is not None and only.count(only[0]) < len(only):
            return self._inet_slowly(block)
        hosts, queues, states = self._hosts[bool(only[0]) if only else None], self._queues, self._states[block.netid]
        rows = block.unpack_as(_INET_ROW[family])
        ports = block.data[22 :: block.layout.size], block.data[23 :: block.layout.size]
        if self.show.service or (b"\0" in ports[0] and b"\0" in ports[1]):
            named, width = self._ports_of(block.netid), PORT_WIDTH
            return [
                f"{states[state]}{queues[sizes]}{hosts[source]}{named[sport]:<{width}}{hosts[target]}{named[dport]:<{width}}"
                for state, sport, dport, source, target, sizes in rows
            ]
        # Of the ways to put this together, this takes half the time of the others.
        return [
            "%s%s%s%-6d%s%-6d"  # noqa: UP031
            % (states[state], queues[sizes], hosts[source], sport, hosts[target], dport)
            for state, sport, dport, source, target, sizes in rows
        ]

    def _inet_slowly(self, block: Block) -> list[str]:
        """The same where an interface is named, or a protocol is the kind of socket, or `::` has two meanings."""
        is_v4 = block.layout.family == diag.AF_INET
        rows = self.reader.raw(
            block, ("_state", "_sport", "_dport", "_src", "_dst", "_interface", "_rqueue", "_wqueue")
        )
        assert rows is not None
        netids, ports = self._column(block, "netid"), self._ports_of(block.netid)
        only = [None] * block.count if is_v4 else [bool(value) for value in self._column(block, "v6only")]
        lines = []
        for netid, is_only, row in zip(netids, only, rows, strict=True):
            state, sport, dport, source, target, interface, unread, unsent = row
            hosts = self._hosts[is_only]
            host, peer = (hosts[data[:4] if is_v4 else data] for data in (source, target))
            if interface:
                host = f"{host[:-1]}%{self.names.interface[interface]}:".lstrip()
            ends = ((host, ports[swapped(sport)]), (peer, ports[swapped(dport)]))
            lines.append(self._row(netid, fields.STATES[state], (unread, unsent), ends))
        return lines

    def _ports_of(self, netid: str) -> _Made:
        if netid not in self._ports:
            self._ports[netid] = _Made(lambda number: self._port(netid, number))
        return self._ports[netid]

    def _named(self, data: bytes) -> str:
        address = fields.address(data)
        return self.show.host(address) if self.show.host else address

    def _port(self, netid: str, port: int) -> str:
        if not port:
            return "*"
        return (self.show.service(netid, port) if self.show.service else None) or str(port)

    def _unix_ends(self, block: Block) -> list[Ends]:
        columns = (self._column(block, name) for name in ("path", "inode", "peer_inode"))
        return [
            ((f"{printable(path) if path else '*'} ", inode), ("* ", peer or 0))
            for path, inode, peer in zip(*columns, strict=True)
        ]

    def _packet_ends(self, block: Block) -> list[Ends]:
        columns = (self._column(block, name) for name in ("protocol", "interface"))
        names: dict[int, str] = {} if self.show.is_numeric else fields.PACKET_PROTOCOLS
        return [
            ((f"{'*' if number == 3 else names.get(number, f'[{number}]')}:", interface or "*"), ("*", ""))
            for number, interface in zip(*columns, strict=True)
        ]

    def _netlink_ends(self, block: Block) -> list[Ends]:
        rows = self.reader.raw(block, ("_protocol", "_sport", "_dport"))
        assert rows is not None
        names: Mapping[int, str] = {} if self.show.is_numeric else fields.NETLINK_PROTOCOLS
        return [
            (
                (f"{names.get(protocol, protocol)}:", self._owner(port)),
                (f"{names.get(protocol, protocol)}:" if peer else "*", peer or ""),
            )
            for protocol, port, peer in rows
        ]

    def _owner(self, port: int) -> str:
        """A netlink port by the process that has most often chosen its own number for it."""
        if self.show.is_numeric:
            return str(port)
        name = self.show.owner(port) if port and self.show.owner else None
        return f"{printable(name)}/{port}" if name else str(port) if port else "kernel"

    def _vsock_ends(self, block: Block) -> list[Ends]:
        columns = (self._column(block, name) for name in ("local_address", "local_port", "peer_address", "peer_port"))
        return [
            ((f"{_star(here)}:", _star(port)), (f"{_star(there)}:", _star(other)))
            for here, port, there, other in zip(*columns, strict=True)
        ]

    def _processes(self, block: Block) -> list[str]:
        holders, rows = self.names.holders, self.reader.raw(block, ("inode",))
        if holders is None or rows is None:
            return [""] * block.count
        text, sees_all, found = holders.text, self.names.sees_all, []
        for (inode,) in rows:
            held = text(inode)
            if not held and inode and not sees_all:
                self.hidden += 1
                held = " users:(?)"
            found.append(held)
        return found

    def _marks(self, block: Block) -> list[str]:
        found = self.names.marks
        cookies = self._column(block, "cookie")
        return ["".join(f" ! {mark.name}" for mark in found[cookie]) if cookie in found else "" for cookie in cookies]

    def _inet_parts(self, block: Block) -> list[list[str]]:
        show, parts = self.show, []
        at = self.reader.place(block, "_timer") if show.timers or show.extended else None
        if at is not None and any(block.data[at :: block.layout.size]):
            parts.append(self._timer_texts(block))
        if show.extended:
            parts.append(self._detail_texts(block))
        elif show.cgroup:
            parts.append([f" cgroup:{path}" if path else "" for path in self._column(block, "cgroup")])
        if show.tos:
            parts.append(self._tos(block))
        if show.options:
            parts.append(self._options(block))
        if show.marks and self.names.marks and block.netid == "tcp" and _LISTENS in block.data[17 :: block.layout.size]:
            parts.append(self._marks(block))
        below: list[list[str]] = []
        if show.memory:
            below.append(self._memory(block, diag.SKMEMINFO))
        if show.info:
            below += self._info(block)
        if below:
            parts += [[show.below] * block.count if any(map(any, below)) else [""] * block.count, *below]
        return parts

    def _other_parts(self, block: Block) -> list[list[str]]:
        family, parts = block.layout.family, []
        if self.show.extended:
            parts.append(self._other_details(block))
        kind = {diag.AF_UNIX: diag.UNIX_MEMINFO, diag.AF_PACKET: diag.PACKET_MEMINFO}.get(family, diag.NETLINK_MEMINFO)
        if self.show.memory and family != diag.AF_VSOCK:
            parts += [[self.show.below] * block.count, self._memory(block, kind)]
        return parts

    def _column(self, block: Block, name: str) -> list[Any]:
        column = self.reader.column(block, name)
        return [None] * block.count if column is None else column

    def _other_details(self, block: Block) -> list[str]:
        """uid, inode, cookie, the halves that are still open; and what is a kind's own."""
        columns = [self._column(block, name) for name in ("uid", "inode", "cookie", "shutdown", "pending_inodes")]
        packets = self._packet_details(block)
        if block.layout.family == diag.AF_NETLINK:
            packets = [f" groups=0x{_first_word(groups):08x}" for groups in self._column(block, "netlink_groups")]
        return [
            f"{f' uid:{uid}' if uid else ''} ino:{inode or 0} sk:{cookie:x}{_open_halves(shut)}{packet}"
            + (f" peers: {' '.join(map(str, pending))}" if pending else "")
            for (uid, inode, cookie, shut, pending), packet in zip(zip(*columns, strict=True), packets, strict=True)
        ]

    def _packet_details(self, block: Block) -> list[str]:
        """Of packet sockets: version, flags, rings and fanout."""
        rows = self.reader.raw(block, ("packet_version", "packet_copy_thresh", "packet_flags"))
        if rows is None:
            return [""] * block.count
        texts = []
        for version, threshold, flags in rows:
            names = " ".join(name for bit, name in fields.PACKET_FLAGS if flags & bit) or "0"
            texts.append(f" ver:{version} cpy_thresh:{threshold} flags( {names} )")
        for ring in ("rx_ring", "tx_ring"):
            columns = [self._column(block, f"{ring}_{name}") for name in fields.RING]
            for at, values in enumerate(zip(*columns, strict=True)):
                if values[0] is not None:
                    text = ",".join(f"{word}:{value}" for word, value in zip(fields.RING.values(), values, strict=True))
                    texts[at] += f" ring_{ring[:2]}({text})"
        fanouts = self._column(block, "fanout")
        return [
            text + (f" fanout(id:{number & 0xFFFF},type:{number >> 16 & 0xFF})" if number is not None else "")
            for text, number in zip(texts, fanouts, strict=True)
        ]

    def _timer_texts(self, block: Block) -> list[str]:
        texts = self._timers
        return [texts[row] for row in self.reader.raw(block, ("_timer", "_tries", "_expires")) or ()]

    def _detail_texts(self, block: Block) -> list[str]:
        names = sorted(
            (at, name)
            for name in ("mark", "_cgroup", "_v6only", "shutdown")
            if (at := self.reader.place(block, name)) is not None
        )
        # What follows the inode is the same for most sockets, and made once for each combination.
        order = tuple(name for _, name in names)
        texts = self._details.setdefault(
            order, _Made(lambda values: self._detail(dict(zip(order, values, strict=True))))
        )
        rows, ends = self.reader.raw(block, ("_cookie", "_uid", "inode")), self.reader.raw(block, order)
        assert rows is not None and ends is not None
        users = self._users
        return [
            f"{users[uid]} ino:{inode}{f' sk:{cookie:x}' if cookie else ''}{texts[end]}"
            for (cookie, uid, inode), end in zip(rows, ends, strict=True)
        ]

    def _detail(self, values: dict[str, int]) -> str:
        mark, group, only = values.get("mark"), values.get("_cgroup"), values.get("_v6only")
        text = (f" fwmark:0x{mark:x}" if mark else "") + (f" cgroup:{self.names.cgroup[group]}" if group else "")
        return text + ("" if only is None else f" v6only:{only}") + _open_halves(values.get("shutdown"))

    def _tos(self, block: Block) -> list[str]:
        parts = []
        for name in ("tos", "tclass", "class_id"):
            if (column := self.reader.column(block, name)) is not None:
                parts.append([f" {name}:{value:#x}" if value else f" {name}:0" for value in column])
        return ["".join(row) for row in zip(*parts, strict=True)] if parts else [""] * block.count

    def _options(self, block: Block) -> list[str]:
        columns = [self._column(block, f"opt_{name}") for name in fields.SOCKET_OPTIONS]
        texts = []
        for row in zip(*columns, strict=True):
            names = "".join(f" {name}" for name, value in zip(fields.SOCKET_OPTIONS, row, strict=True) if value)
            texts.append(f" inet-sockopt: ({names})")
        return texts

    def _memory(self, block: Block, kind: int) -> list[str]:
        length = block.length(kind)
        at = block.place(kind, 0, f"{length}s") if length > 0 else None
        if at is None:
            return [""] * block.count
        texts = self._memories
        return [texts[data] for (data,) in block.unpack([(at, f"{length}s")])]

    def _info(self, block: Block) -> list[list[str]]:
        length = block.length(diag.INFO)
        at = block.place(diag.INFO, 0, f"{length}s") if length > 0 else None
        if at is None:
            return []
        blobs = block.unpack([(at, f"{length}s")])
        if block.netid == "mptcp":
            return [[mptcp_text(data) for (data,) in blobs]]
        congestion = self._column(block, "congestion")
        own = self._congestion_info(block)
        parts = [info_text(blobs, congestion, own, self._info_texts, self.show.is_numeric)]
        length = block.length(diag.ULP_INFO)
        if length >= 0 and (place := block.place(diag.ULP_INFO, 0, f"{length}s")) is not None:
            parts.append([ulp_text(data) for (data,) in block.unpack([(place, f"{length}s")])])
        return parts

    def _congestion_info(self, block: Block) -> list[tuple[int, bytes]] | None:
        """What the congestion control tells of itself: the attribute and its data."""
        for kind in (diag.BBRINFO, diag.DCTCPINFO, diag.VEGASINFO):
            length = block.length(kind)
            if length > 0 and (at := block.place(kind, 0, f"{length}s")) is not None:
                return [(kind, data) for (data,) in block.unpack([(at, f"{length}s")])]
        return None


class _Made(dict):  # type: ignore[type-arg]
    """Texts by what they are made of, up to `KEPT_TEXTS`."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: Any) -> Any:
        text = self._make(key)
        if len(self) < KEPT_TEXTS:
            self[key] = text
        return text


def _first_word(groups: Sequence[int] | None) -> int:
    """The first 32 multicast groups as bits."""
    return sum(1 << number - 1 for number in groups or () if number <= 32)


def _star(value: object) -> str:
    return "*" if value is None else str(value)


def _open_halves(shut: int | None) -> str:
    return "" if shut is None else f" {'-' if shut & 1 else '<'}-{'-' if shut & 2 else '>'}"


def _timer(row: tuple[int, int, int]) -> str:
    timer, tries, left = row
    return f" timer:({fields.TIMERS[min(timer, 5)]},{milliseconds(left)},{tries})" if timer else ""


def milliseconds(left: int) -> str:
    """Milliseconds as ss writes them: `1min30sec`, `9.500ms`, `200ms`."""
    seconds, rest = divmod(left, 1000)
    minutes, seconds = divmod(seconds, 60)
    text = ""
    if minutes:
        rest = 0
        text = f"{minutes}min"
        if minutes > 9:
            seconds = 0
    if seconds:
        if seconds > 9:
            rest = 0
        text += f"{seconds}{'.' if rest else 'sec'}"
    return text + (f"{rest:03d}ms" if rest else "")


_MEMORY = ("r", "rb", "t", "tb", "f", "w", "o", "bl", "d")


def _memory(data: bytes) -> str:
    values = unpack_from(f"={len(data) // 4}I", data)
    return " skmem:(" + ",".join(f"{name}{value}" for name, value in zip(_MEMORY, values, strict=False)) + ")"
