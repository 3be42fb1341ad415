"""The columns of the socket table: each is read from a block of messages in one pass, when it is asked for.

What a kind of socket does not have, or a kernel does not give, is None. The names are the kernel's (`tcpi_rtt`, in its
units) or what things are: `accept_queue` and `accept_limit` on a listener, `unread` and `unacked` elsewhere.
"""

from __future__ import annotations

from struct import calcsize, unpack

from echowire.core.sockets import fields
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.sock_diag import Block, nested, swapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import Any

    from echowire.core.sockets.holders import Holders

    Derived = Mapping[str, tuple[tuple[str, ...], Callable[..., object]]]


class Mark:
    """One thing about a listener: `name` in a word or two, and `why` it matters."""

    __slots__ = ("name", "why")

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why

    def document(self) -> dict[str, str]:
        """The mark as JSON has it."""
        return {"mark": self.name, "why": self.why}


class Names:
    """What numbers of this host mean, found out when first met: interfaces, control groups, users.

    `unknown` are columns that the messages seem to have, and whoever made them did not know.

    `holders` is None unless processes were looked for; `marks` are of listeners, by cookie. `netns` is the inode of the
    network namespace, `ephemeral` the first and last port that the kernel chooses, `release` the kernel's version.
    """

    def __init__(
        self,
        *,
        interface: Callable[[int], str] = str,
        cgroup: Callable[[int], str | None] = lambda _: None,
        user: Callable[[int], str] = str,
        release: tuple[int, int] = (0, 0),
        netns: int | None = None,
        ephemeral: tuple[int, int] = (32768, 60999),
        unknown: Collection[str] = (),
        holders: Holders | None = None,
        sees_all: bool = True,
        marks: Mapping[int, Sequence[Mark]] | None = None,
    ) -> None:
        self.interface = _Memo(interface)
        self.cgroup = _Memo(cgroup)
        self.user = _Memo(user)
        self.release = release
        self.netns = netns
        self.ephemeral = ephemeral
        self.unknown = unknown
        self.holders = holders
        self.sees_all = sees_all
        self.marks = marks or {}
        self.address = _Memo(fields.address)
        self.port = _Memo(swapped)


class _Memo(dict):  # type: ignore[type-arg]
    """A function as a dictionary: the second time a value costs one look-up."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: Any) -> Any:
        self[key] = value = self._function(key)
        return value


def _inet(names: Names) -> Derived:
    address, port, interface = names.address, names.port, names.interface
    listen, states = fields.LISTEN, fields.STATES

    def host(family: int, data: bytes) -> str:
        return str(address[data[:4] if family == diag.AF_INET else data])

    def peer(family: int, number: int, data: bytes) -> str | None:
        return host(family, data) if number or any(data) else None

    return {
        "family": (("_family",), lambda family: 6 if family == diag.AF_INET6 else 4),
        "state": (("_state",), lambda state: states[state] if state < len(states) else states[0]),
        "local_address": (("_family", "_src"), host),
        "local_port": (("_sport",), port.__getitem__),
        "peer_address": (("_family", "_dport", "_dst"), peer),
        "peer_port": (("_dport",), lambda number: port[number] if number else None),
        "interface": (("_interface",), lambda index: interface[index] if index else None),
        "accept_queue": (("_state", "_rqueue"), lambda state, size: size if state == listen else None),
        "accept_limit": (("_state", "_wqueue"), lambda state, size: size if state == listen else None),
        "unread": (("_state", "_rqueue"), lambda state, size: None if state == listen else size),
        "unacked": (("_state", "_wqueue"), lambda state, size: None if state == listen else size),
        "timer": (("_timer",), lambda timer: fields.TIMERS[min(timer, 5)] if timer else None),
        "timer_ms": (("_timer", "_expires"), lambda timer, left: left if timer else None),
        "timer_tries": (("_timer", "_tries"), lambda timer, tries: tries if timer else None),
        # The kernel has no user of a socket that no process holds, and says 0, which would be root.
        "uid": (("_uid", "inode"), lambda uid, inode: uid if inode else None),
        "user": (("_uid", "inode"), lambda uid, inode: names.user[uid] if inode else None),
        "v6only": (("_v6only",), bool),
        "cgroup": (("_cgroup",), lambda number: names.cgroup[number] if number else None),
        "marks": (("_cookie",), lambda cookie: [mark.document() for mark in names.marks.get(cookie, ())]),
        **_shared(names),
    }


def _shared(names: Names) -> Derived:
    holders = names.holders
    found: dict[str, tuple[tuple[str, ...], Callable[..., object]]] = {
        "cookie": (("_cookie",), lambda cookie: cookie),
        "inode": (("inode",), lambda inode: inode or None),
    }
    if holders is not None:
        found["processes"] = (("inode",), lambda inode: _holders_json(inode, names))
    return found


def _holders_json(inode: int, names: Names) -> list[dict[str, object]] | None:
    """Who holds the socket; None where that may not be seen, empty where nobody does."""
    assert names.holders is not None
    found = names.holders.get(inode)
    return None if inode and not found and not names.sees_all else [one.document() for one in found]


def _unix(names: Names) -> Derived:
    return {
        "netid": (("_type",), lambda kind: fields.UNIX_NETIDS.get(kind, "u_???")),
        "state": (("_state",), lambda state: fields.STATES[state] if state < 14 else fields.STATES[0]),
        "accept_queue": (("_state", "_rqueue"), lambda state, size: size if state == fields.LISTEN else None),
        "accept_limit": (("_state", "_wqueue"), lambda state, size: size if state == fields.LISTEN else None),
        "unread": (("_state", "_rqueue"), lambda state, size: None if state == fields.LISTEN else size),
        "unacked": (("_state", "_wqueue"), lambda state, size: None if state == fields.LISTEN else size),
        "uid": (("_uid",), lambda uid: uid),
        "user": (("_uid",), names.user.__getitem__),
        "peer_inode": (("peer_inode",), lambda inode: inode or None),
        **_shared(names),
    }


def _packet(names: Names) -> Derived:
    return {
        "netid": (("_type",), lambda kind: fields.PACKET_NETIDS.get(kind, "p_???")),
        "state": (("_type",), lambda _: "UNCONN"),
        "unread": (("skmem_rmem_alloc",), lambda size: size),
        "unacked": (("_type",), lambda _: 0),
        # The kernel has this one in the machine's own order.
        "protocol": (("_number",), lambda number: number),
        "interface": (("_pdi_index",), lambda index: names.interface[index] if index else None),
        "uid": (("_uid",), lambda uid: uid),
        "user": (("_uid",), names.user.__getitem__),
        "fanout": (("_fanout",), lambda fanout: fanout),
        **_shared(names),
    }


def _netlink(names: Names) -> Derived:
    return {
        "state": (("_type",), lambda _: "UNCONN"),
        "unread": (("skmem_rmem_alloc",), lambda size: size),
        "unacked": (("skmem_wmem_alloc",), lambda size: size),
        "protocol": (("_protocol",), lambda number: fields.NETLINK_PROTOCOLS.get(number, str(number))),
        "local_port": (("_sport",), lambda port: port),
        "peer_port": (("_dport",), lambda port: port or None),
        **_shared(names),
    }


def _vsock(names: Names) -> Derived:
    return {
        "netid": (("_type",), lambda kind: fields.VSOCK_NETIDS.get(kind, "v_???")),
        "state": (("_state",), lambda state: fields.STATES[state] if state < 14 else fields.STATES[0]),
        "unread": (("_type",), lambda _: None),
        "unacked": (("_type",), lambda _: None),
        "local_address": (("_src",), lambda cid: None if cid == ANY_CID else str(cid)),
        "local_port": (("_sport",), lambda port: None if port == ANY_CID else port),
        "peer_address": (("_dst",), lambda cid: None if cid == ANY_CID else str(cid)),
        "peer_port": (("_dport",), lambda port: None if port == ANY_CID else port),
        **_shared(names),
    }


ANY_CID = 0xFFFF_FFFF
"""VMADDR_CID_ANY and VMADDR_PORT_ANY."""

_DERIVED = {diag.AF_UNIX: _unix, diag.AF_PACKET: _packet, diag.AF_NETLINK: _netlink, diag.AF_VSOCK: _vsock}

FIRST = (
    *("netid", "family", "state", "accept_queue", "accept_limit", "unread", "unacked"),
    *("local_address", "local_port", "peer_address", "peer_port", "interface", "path", "protocol"),
)
"""The order in which a row begins."""


class Reader:
    """Reads columns from blocks. One serves a whole table, and remembers what each kind of socket has."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._fields: dict[tuple[int, str], Mapping[str, fields.Field]] = {}
        self._derived: dict[int, Derived] = {}

    def raw(self, block: Block, wanted: Sequence[str]) -> Iterator[tuple[Any, ...]] | None:
        """Of each message the fields `wanted`, in one pass; None where the block lacks one.

        They are named in the order in which they stand (`place`).
        """
        places = []
        for name in wanted:
            at = self.place(block, name)
            if at is None:
                return None
            places.append((at, self.fields(block)[name][2]))
        return block.unpack(places)

    def place(self, block: Block, name: str) -> int | None:
        """Where a field stands in each message of the block; None where it does not."""
        attribute, offset, letter, _, _ = self.fields(block).get(name, _NO_FIELD)
        return block.place(attribute, offset, letter)

    def fields(self, block: Block) -> Mapping[str, fields.Field]:
        """The fields of the block's kind of socket."""
        key = (block.layout.family, block.netid)
        if key not in self._fields:
            self._fields[key] = fields.fields_of(*key, self.names.release)
        return self._fields[key]

    def derived(self, block: Block) -> Derived:
        """The columns that are made of fields."""
        family = block.layout.family
        if family not in self._derived:
            self._derived[family] = _DERIVED.get(family, _inet)(self.names)
        return self._derived[family]

    def column(self, block: Block, name: str) -> list[Any] | None:
        """One column of one block; None where its sockets have no such thing."""
        if name in self.names.unknown:
            return None
        derived = self.derived(block).get(name)
        if derived is not None:
            wanted, make = derived
            rows = self.raw(block, wanted)
            if rows is None:
                return None
            return [make(*row) for row in rows]
        if name == "netid":
            return self._netids(block)
        blobs = _BLOBS.get(block.layout.family, {})
        if name in blobs:
            return self._blobs(block, *blobs[name])
        if name == "netns" and self.names.netns is not None:
            return [self.names.netns] * block.count
        field = self.fields(block).get(name) if not name.startswith("_") else None
        at = block.place(*field[:3]) if field else None
        if field is None or at is None:
            return None
        _, _, letter, shift, mask = field
        if shift or mask != (1 << 8 * calcsize("=" + letter)) - 1:
            return [value >> shift & mask for (value,) in block.unpack([(at, letter)])]
        return [value for (value,) in block.unpack([(at, letter)])]

    def _netids(self, block: Block) -> list[str]:
        protocols = self.raw(block, ("_protocol",)) if block.netid == "raw" else None
        if protocols is None:
            return [block.netid] * block.count
        return ["icmp6" if protocol == ICMPV6 else "raw" for (protocol,) in protocols]

    def _blobs(self, block: Block, attribute: int, decode: Callable[[bytes], Any]) -> list[Any] | None:
        length = block.length(attribute)
        at = block.place(attribute, 0, f"{length}s") if length >= 0 else None
        return None if at is None else [decode(data) for (data,) in block.unpack([(at, f"{length}s")])]

    def columns(self, block: Block) -> list[str]:
        """The names of all columns that the block has."""
        known = {
            "netid",
            *self.derived(block),
            *_BLOBS.get(block.layout.family, ()),
            *(name for name in self.fields(block) if name[0] != "_"),
        }
        if self.names.netns is not None:
            known.add("netns")
        rest = [name for name in self.fields(block) if name in known and name not in FIRST]
        others = sorted(known.difference(FIRST, rest))
        return [name for name in (*FIRST, *others, *rest) if name in known]

    def dicts(self, block: Block) -> Iterator[dict[str, Any]]:
        """Each socket of the block with all of its columns."""
        names, columns = [], []
        for name in self.columns(block):
            column = self.column(block, name)
            names.append(name)
            columns.append([None] * block.count if column is None else column)
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


_NO_FIELD: fields.Field = (-1, 0, "B", 0, 0)
ICMPV6 = 58


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("ascii", "replace")


def _path(data: bytes) -> str:
    """A Unix socket's name; in the abstract namespace each NUL is shown as `@`."""
    return (data.replace(b"\0", b"@") if data[:1] == b"\0" else data.rstrip(b"\0")).decode("utf-8", "surrogateescape")


def _ulp(data: bytes) -> str | None:
    name = nested(data).get(diag.ULP_NAME)
    return _text(name) if name else None


def _inodes(data: bytes) -> list[int]:
    """The sockets whose connections wait to be accepted."""
    return list(unpack(f"={len(data) // 4}I", data))


def _groups(data: bytes) -> list[int]:
    return [at * 8 + bit + 1 for at, byte in enumerate(data) for bit in range(8) if byte >> bit & 1]


_INET_BLOBS = {"congestion": (diag.CONG, _text), "ulp": (diag.ULP_INFO, _ulp)}
_BLOBS: Mapping[int, Mapping[str, tuple[int, Callable[[bytes], Any]]]] = {
    diag.AF_INET: _INET_BLOBS,
    diag.AF_INET6: _INET_BLOBS,
    diag.AF_UNIX: {"path": (diag.UNIX_NAME, _path), "pending_inodes": (diag.UNIX_ICONS, _inodes)},
    diag.AF_NETLINK: {"netlink_groups": (diag.NETLINK_GROUPS, _groups)},
}
"""Columns of attributes whose length varies, by the family of the sockets that have them."""
