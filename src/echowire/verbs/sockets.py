"""The socket table: asks the kernel for its sockets, joins names and processes to them, and gives a table.

What the plain listing does not need is imported where it is needed: the listing is over in a tenth of a second.
`sockets()` is the public name. A `SocketInquiry` gives the same block by block, while the kernel is still at it: so
40,000 sockets are printed while they are listed.
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.columns import Names, Reader
from echowire.core.sockets.fields import HOLDER, PARTS
from echowire.core.sockets.holders import Holders, Person
from echowire.core.sockets.marks import Listener, find_marks, listeners
from echowire.core.sockets.sock_diag import Block, Splitter
from echowire.errors import OperationError, UsageError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections.tcp_info import kernel_release
from echowire.kernel.tables import control_groups, namespaces, processes, psutil_view, socket_names
from echowire.kernel.tables.netlink import NetlinkSocket, read_ahead
from echowire.kernel.tables.raw_sockets import raw_messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import TypeVar

    from echowire.core.sockets.filter_text import Parsed
    from echowire.core.sockets.groups import SocketGroup, SocketSummary
    from echowire.core.sockets.table import SocketRow, SocketTable

    _T = TypeVar("_T")

KINDS = ("netlink", "packet", "unix", "raw", "udp", "udplite", "tcp", "mptcp", "vsock")
"""What is listed, in the order in which ss lists it."""

_PROTOCOLS = {
    "tcp": diag.IPPROTO_TCP,
    "udp": diag.IPPROTO_UDP,
    "udplite": diag.IPPROTO_UDPLITE,
    "mptcp": diag.IPPROTO_MPTCP,
    "raw": diag.IPPROTO_RAW,
}
_NETIDS = {"netlink": "nl", "udplite": "udpl", "unix": "", "packet": "", "vsock": ""}

BOUND = 1 << 13
"""TCP_BOUND_INACTIVE, from Linux 6.8: bound, and neither listening nor connected. An older kernel passes it over."""

ALL_STATES = diag.ALL_STATES | BOUND
_CLOSED, _LISTENING = 1 << 7, 1 << 10
LISTENING = _LISTENING | _CLOSED | BOUND
CONNECTED = diag.ALL_STATES & ~(LISTENING | 1 << 6 | 1 << 3)
DEFAULT_STATES = {"netlink": _CLOSED, "packet": _CLOSED, "raw": 1 << 1, "udp": 1 << 1, "udplite": 1 << 1}
"""As in ss: what has a peer; where there is none, what there is."""


class SocketInquiry:
    """What is asked of the kernel, and what came of it.

    `kinds` are of `KINDS`, or parts of one (`PARTS`); `states` are bits, None is ss's choice. `host_family` is that of
    a host in the filter that names none: unix, link, netlink or vsock, else IP's. `tos`: None is with memory and info.
    After `blocks` has ended, `notes` says what could not be seen.
    """

    KINDS, ALL_STATES, LISTENING, CONNECTED = KINDS, ALL_STATES, LISTENING, CONNECTED
    PARTS = PARTS

    def __init__(
        self,
        filter: str = "",  # noqa: A002 - what everybody calls it
        *,
        kinds: Collection[str] = KINDS,
        states: int | None = ALL_STATES,
        family: int | None = None,
        memory: bool = True,
        info: bool = True,
        tos: bool | None = None,
        host_family: str = "",
        with_processes: bool = False,
        namespace: str | None = None,
    ) -> None:
        if unknown := [kind for kind in kinds if kind not in KINDS and kind not in PARTS]:
            raise UsageError(f"no sockets are called '{unknown[0]}'; one of {', '.join((*KINDS, *PARTS))}")
        self._netids: dict[str, set[str]] = {}
        for kind, netid in (PARTS[part] for part in kinds if part in PARTS):
            if kind not in kinds:  # the whole has its parts
                self._netids.setdefault(kind, set()).add(netid)
        self.kinds = [kind for kind in KINDS if kind in kinds or kind in self._netids]
        self.families = [diag.AF_INET, diag.AF_INET6] if family is None else [{4: 2, 6: 10}[family]]
        self.states = states
        self.extensions = diag.EXTENSIONS["tos"] if (memory and info if tos is None else tos) else 0
        self.extensions |= (diag.EXTENSIONS["memory"] if memory else 0) | (diag.EXTENSIONS["info"] if info else 0)
        self.namespace = namespaces.path_of(namespace) if namespace else None
        self.notes: list[str] = []
        self._host_family = host_family
        self.parsed = _parsed(filter, host_family) if filter else None
        if self.parsed is not None and self.parsed.states is not None:
            self.states = self.parsed.states
        self._expression = self.parsed.expression if self.parsed else None
        self.hidden = self.hidden_sockets = self.time_ns = 0
        self.listening: frozenset[int] = frozenset()
        self.names = self.within(self._names)
        self.reader = Reader(self.names)
        if with_processes or (self.parsed and self.parsed.needs_processes):
            self.look_for_processes()
        self._bytecode, self._is_exact = self.within(self._compiled)

    def within(self, function: Callable[[], _T]) -> _T:
        """What `function` returns in the namespace that is asked about. Raises `OperationError` where it is closed."""
        if self.namespace is None:
            return function()
        try:
            with operation("enter", self.namespace):
                return namespaces.within(self.namespace, function)
        except OperationError as error:
            error.remedy = error.remedy or ENTER_REMEDIES.get(error.number, "")
            raise

    def _names(self) -> Names:
        interfaces: dict[int, str] = {} if self.namespace is None else socket_names.interface_names()
        return Names(
            interface=_Late(socket_names.interface_names, interfaces),
            cgroup=_Late(control_groups.paths, {}, "unreachable:{:x}"),
            user=processes.user_name,
            release=kernel_release(),
            netns=namespaces.inode_of(),
            ephemeral=socket_names.ephemeral_ports(),
        )

    def look_for_processes(self) -> None:
        """Join the processes that hold each socket. Those that may not be seen are counted in `hidden`."""
        packed, self.hidden = processes.socket_holders()
        self.names.holders = Holders(packed, self._person)
        self.names.sees_all = bool(processes.sees_all_processes())

    def _person(self, pid: int) -> Person:
        uid = processes.user_of(pid)
        user = "?" if uid is None else self.names.user[uid]
        return Person(pid, processes.name_of(pid), user, processes.unit_of(pid))

    def _compiled(self) -> tuple[bytes, bool]:
        if self._expression is None:
            return b"", True
        from echowire.core.sockets.filter_bytecode import compile_bytecode

        tests = list(self.parsed.tests()) if self.parsed else []
        groups = {str(test.value) for test in tests if test.subject == "cgroup"}
        numbers = {path: number for path in groups if (number := control_groups.number_of(path)) is not None}
        interfaces = {name: index for index, name in socket_names.interface_names().items()}
        devices = {str(test.value) for test in tests if test.subject == "dev"}
        for what, names, known in (("interface", devices, interfaces), ("control group", groups, numbers)):
            for name in names - known.keys():
                if not (name.isdecimal() or "*" in name or name.startswith(("if", "unreachable:"))):
                    raise UsageError(f"no {what} is called '{name}'")
        return compile_bytecode(
            self._expression,
            interfaces=interfaces,
            cgroups=numbers,
            may_mark=bool(processes.has_capability(processes.CAP_NET_ADMIN)),
        )

    def blocks(self, *, ahead: bool = False, kinds: Collection[str] | None = None) -> Iterator[Block]:
        """The sockets that the filter chooses, as they come; of `kinds` alone, if given. With `ahead`, a thread reads
        while the caller works.

        Raises `OperationError` where the kernel refuses altogether.
        """
        splitter = Splitter()
        try:
            with operation("open", "sock_diag"):
                sock = self.within(NetlinkSocket)
        except OperationError as error:
            if error.number not in NO_SOCK_DIAG:
                raise
            yield from self._by_psutil(splitter)
            return
        with sock:
            self.time_ns = time.time_ns()
            kinds = self.kinds if kinds is None else kinds
            if "tcp" in kinds:
                found = self._listeners(sock, splitter)
                self.listening = frozenset(one.port for one in found)
                self.names.marks = find_marks(found)
            for kind in kinds:
                yield from self._of_kind(sock, splitter, kind, ahead)

    def _by_psutil(self, splitter: Splitter) -> Iterator[Block]:
        """What psutil sees, where sock_diag is not to be had."""
        self.time_ns = time.time_ns()
        self._note(psutil_view.LACKS)
        self.names.unknown = psutil_view.UNKNOWN
        for kind in self.kinds:
            if kind not in psutil_view.KINDS:
                self._note(f"psutil lists no {kind} sockets")
                continue
            states = DEFAULT_STATES.get(kind, CONNECTED) if self.states is None else self.states
            with operation("list", f"{kind} sockets"):
                found = list(psutil_view.psutil_messages(kind))
            if self.names.holders is not None:
                packed = {number: HOLDER.pack(pid, fd) for number, (_, pid, fd) in enumerate(found, 1) if pid}
                self.names.holders = Holders(packed, self._person)
                self.names.sees_all = False
            for block in splitter.split(b"".join(message for message, _, _ in found), kind):
                families, rows = set(self.families), block.unpack_as("=16xBB")
                wanted = block.take([family in families and states >> state & 1 for family, state in rows])
                if wanted and (kept := self._kept(wanted, False)) is not None:
                    yield kept

    def _listeners(self, sock: NetlinkSocket, splitter: Splitter) -> list[Listener]:
        """All TCP listeners, whatever is asked for: a mark compares one with the others."""
        found: list[Listener] = []
        with suppress(OSError):
            for buffer in sock.dump(diag.TCPDIAG_GETSOCK, diag.every_tcp_request(states=_LISTENING)):
                found += listeners(self.reader, splitter.split(buffer, "tcp"))
        return found

    def _of_kind(self, sock: NetlinkSocket, splitter: Splitter, kind: str, ahead: bool) -> Iterator[Block]:
        states = DEFAULT_STATES.get(kind, CONNECTED) if self.states is None else self.states
        if kind in ("netlink", "packet") and not states & _CLOSED:
            return
        for family in self.families if kind in _PROTOCOLS and kind != "tcp" else self.families[:1]:
            dump = _Dump(kind, 0 if kind == "tcp" and len(self.families) > 1 else family, states, self.extensions)
            yield from self._dump(sock, splitter, dump, ahead)

    def _dump(self, sock: NetlinkSocket, splitter: Splitter, dump: _Dump, ahead: bool) -> Iterator[Block]:
        bytecode = self._bytecode if dump.kind in _PROTOCOLS else b""
        buffers = sock.dump(dump.message, dump.request(bytecode))
        is_complete = False
        try:
            for buffer in read_ahead(buffers) if ahead else buffers:
                for block in self._of_parts(splitter.split(buffer, dump.netid), dump.kind):
                    if (kept := self._kept(block, dump.kind in _PROTOCOLS and self._is_exact)) is not None:
                        yield kept
            is_complete = True
        except OSError as error:
            is_complete = True
            if error.errno == errno.ENOENT:
                yield from self._without_table(dump, splitter)
            elif error.errno == errno.EINVAL and bytecode:
                # An older kernel does not know each instruction: it lists all, and the choice is made here.
                self._bytecode, self._is_exact = b"", False
                yield from self._dump(sock, splitter, dump, ahead)
            elif error.errno == errno.EINVAL and dump.kind in ("mptcp", "netlink", "vsock"):
                self._note(f"this kernel cannot list {dump.kind} sockets")
            else:
                what = f"{dump.kind} sockets"
                raise OperationError("list", what, error.errno or 0, error.strerror or "failed") from error
        finally:
            if not is_complete:
                # Whoever asked has stopped: the rest of the dump would be in the way of the next.
                sock.close()

    def _of_parts(self, blocks: list[Block], kind: str) -> Iterator[Block]:
        """Of a kind of which only parts are asked for those."""
        wanted = self._netids.get(kind)
        if not wanted:
            yield from blocks
            return
        for block in blocks:
            part = block.take([netid in wanted for netid in self.reader.column(block, "netid") or ()])
            if part:
                yield part

    @property
    def state_bits(self) -> int:
        """All states that are asked for, of any of the kinds."""
        if self.states is not None:
            return self.states
        bits = 0
        for kind in self.kinds:
            bits |= DEFAULT_STATES.get(kind, CONNECTED)
        return bits

    def _without_table(self, dump: _Dump, splitter: Splitter) -> Iterator[Block]:
        """What another table tells where sock_diag has no module for a kind."""
        if dump.kind != "raw":
            self._note(f"this kernel cannot list {dump.kind} sockets: it has no {dump.kind}_diag")
            return
        try:
            messages = self.within(lambda: raw_messages(dump.family))
        except (OSError, OperationError):
            return
        for block in splitter.split(messages, dump.netid):
            rows = block.unpack_as("=17xB")
            wanted = block.take([dump.states >> state & 1 for (state,) in rows])
            if wanted and (kept := self._kept(wanted, False)) is not None:
                yield kept

    @property
    def has_filter(self) -> bool:
        """Whether an expression chooses among the sockets."""
        return self._expression is not None

    def chosen(self, block: Block) -> Block | None:
        """What the filter chooses of sockets that come from elsewhere; None if nothing."""
        return self._kept(block, False)

    def row_filter(self, text: str) -> Callable[[SocketRow], bool]:
        """Another filter, as a function of rows that this inquiry found. Raises `UsageError`."""
        from echowire.core.sockets.table import row_filter

        parsed = _parsed(text, self._host_family)
        if parsed.needs_processes and self.names.holders is None:
            self.look_for_processes()
        return row_filter(self.reader, parsed)

    def _kept(self, block: Block, is_exact: bool) -> Block | None:
        if self._expression is None or is_exact:
            return block
        from echowire.core.sockets.filter_columns import apply

        return apply(self.reader, block, self._expression)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    @staticmethod
    def host_name(address: str) -> str:
        """The name of an address, or the address."""
        return socket_names.host_name(address)

    @staticmethod
    def process_name(pid: int) -> str | None:
        """The name of a process, None where there is no such one."""
        name = processes.name_of(pid)
        return None if name == "?" else name

    @staticmethod
    def service_name(netid: str, port: int) -> str | None:
        """The name of a port (services(5)), None where it has none."""
        if not _SERVICES:
            _SERVICES.update(socket_names.service_names())
            names = socket_names.protocol_names()
            _SERVICES.update({("raw", number): name for number, name in names.items()})
        return _SERVICES.get(("tcp" if netid == "mptcp" else "udp" if netid == "udpl" else netid, port))

    def table(self) -> SocketTable:
        """All of it. Raises `OperationError`."""
        from echowire.core.sockets.table import SocketTable

        return SocketTable(list(self.blocks()), self.names, time_ns=self.time_ns, notes=self.notes)

    def groups(self, by: str) -> list[SocketGroup]:
        """The sockets counted by process, state, peer, port, cgroup, user or kind, the largest group first."""
        from echowire.core.sockets.groups import group_by

        # Which ports are listened on is known when the first block is there.
        found = group_by(self.reader, self.blocks(), by, _Listening(self))
        self.hidden_sockets = sum(group.count for group in found if group.key == "?")
        return found

    def summary(self) -> SocketSummary:
        """The sockets counted by kind and state."""
        from echowire.core.sockets.groups import SocketSummary

        return SocketSummary(self.reader, self.blocks())

    def close(self, blocks: Iterable[Block]) -> tuple[int, int]:
        """Close the sockets, as if their connections had failed (ECONNABORTED for whoever holds them).

        How many were closed, and how many had gone already. Raises `OperationError`: EPERM without CAP_NET_ADMIN,
        EOPNOTSUPP for a kind that cannot be closed, or a kernel without CONFIG_INET_DIAG_DESTROY.
        """
        closed = gone = 0
        with operation("open", "sock_diag"):
            sock = self.within(NetlinkSocket)
        with sock:
            for block in blocks:
                kind = "udplite" if block.netid == "udpl" else block.netid
                if kind not in _PROTOCOLS:
                    what, remedy = f"{kind or 'such'} sockets", "Name TCP, UDP or raw ones: Linux closes no others."
                    raise OperationError("close", what, errno.EOPNOTSUPP, "not supported", remedy=remedy)
                for (identity,) in block.unpack_as("=20x48s"):
                    assert isinstance(identity, bytes)
                    body = diag.inet_request(block.layout.family, _PROTOCOLS[kind], identity=identity)
                    try:
                        sock.ask(diag.SOCK_DESTROY, body)
                        closed += 1
                    except OSError as error:
                        if error.errno != errno.ENOENT:
                            refused = operation_error("close", f"{kind} socket", error)
                            if error.errno == errno.EPERM:
                                refused.remedy = "Run it as root, or with CAP_NET_ADMIN."
                            raise refused from error
                        gone += 1
        return closed, gone


class _Listening:
    """The ports that an inquiry found listened on, also those that it finds later."""

    def __init__(self, inquiry: SocketInquiry) -> None:
        self._inquiry = inquiry

    def __contains__(self, port: object) -> bool:
        return port in self._inquiry.listening


_SERVICES: dict[tuple[str, int], str] = {}
"""/etc/services, once it was read."""


ENTER_REMEDIES = {
    **dict.fromkeys((errno.EPERM, errno.EACCES), "Run it as root: another namespace takes CAP_SYS_ADMIN."),
    errno.ENOENT: "Name one that 'ip netns' lists, or a process by its number.",
}
"""What to do where a namespace is not entered."""

NO_SOCK_DIAG = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOSYS})
"""Errors by which a system says that it has none."""


class _Dump:
    """One request for a table: `family` is 0 for both of IP's, else one of them, and nothing to the other kinds."""

    __slots__ = ("extensions", "family", "kind", "message", "netid", "states")

    def __init__(self, kind: str, family: int, states: int, extensions: int) -> None:
        self.kind, self.family, self.states, self.extensions = kind, family, states, extensions
        self.netid = _NETIDS.get(kind, kind)
        self.message = diag.SOCK_DIAG_BY_FAMILY if family or kind != "tcp" else diag.TCPDIAG_GETSOCK

    def request(self, bytecode: bytes) -> bytes:
        """The request's body."""
        if self.message == diag.TCPDIAG_GETSOCK:
            return diag.every_tcp_request(states=self.states, extensions=self.extensions, bytecode=bytecode)
        if self.kind in _PROTOCOLS:
            return diag.inet_request(
                self.family,
                _PROTOCOLS[self.kind],
                states=self.states,
                extensions=self.extensions,
                bytecode=bytecode,
            )
        return _REQUESTS[self.kind](self.states)


_REQUESTS: dict[str, Callable[[int], bytes]] = {
    "unix": lambda states: diag.unix_request(states=states),
    "packet": lambda _: diag.packet_request(),
    "netlink": lambda _: diag.netlink_request(),
    "vsock": lambda states: diag.vsock_request(states=states),
}


class _Late:
    """A table as a function, read when its first name is asked for, and again when a name is not in it."""

    def __init__(self, read: Callable[[], dict[int, str]], known: dict[int, str], otherwise: str = "if{}") -> None:
        self._read, self._known, self._otherwise = read, known, otherwise

    def __call__(self, number: int) -> str:
        if number not in self._known:
            self._known = self._read() | self._known
        return self._known.get(number) or self._otherwise.format(number)


def sockets(
    filter: str = "",  # noqa: A002
    *,
    kinds: Collection[str] = KINDS,
    states: int | None = ALL_STATES,
    family: int | None = None,
    with_processes: bool = False,
    namespace: str | None = None,
) -> SocketTable:
    """The sockets of this host, or of another network `namespace`, by name or process number.

    `filter` is ss's language, extended (`core/sockets/filter_text.py`); `kinds` are of tcp, udp, udplite, mptcp, raw,
    unix, packet, vsock, netlink; `family` is 4 or 6; `states` are bits, of which a filter's `state` says the same by
    name. `with_processes` looks for who holds each. Raises `UsageError` on a wrong filter and `OperationError`.

    >>> table = sockets("state established dport = :443 and rtt > 100ms")  # doctest: +SKIP
    >>> table.column("tcpi_rtt")  # doctest: +SKIP
    [112045, 230118]
    """
    inquiry = SocketInquiry(
        filter, kinds=kinds, states=states, family=family, with_processes=with_processes, namespace=namespace
    )
    return inquiry.table()


def _parsed(text: str, family: str) -> Parsed:
    from echowire.core.sockets.filter_text import parse_filter

    addresses, port = socket_names.host_addresses, socket_names.service_port
    return parse_filter(text, resolve=addresses, service=port, family=family)
