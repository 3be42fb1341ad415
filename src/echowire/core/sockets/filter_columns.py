"""A socket filter on columns: which messages of a block it chooses, where the kernel could not tell by itself.

Three-valued, as SQL is: a comparison with what is not known of a socket is None, and so is its opposite; only what is
True is chosen.
"""

from __future__ import annotations

import re
from operator import eq, ge, gt, le, lt, ne

from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.filter_text import OF_PROCESSES, TEXTS, parse_filter
from echowire.core.sockets.filter_tree import And, Comparison, Expression, Host, Not

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from echowire.core.sockets.columns import Reader
    from echowire.core.sockets.filter_text import Parsed
    from echowire.core.sockets.holders import Holder
    from echowire.core.sockets.sock_diag import Block

    Truth = Sequence[bool | None]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "!=": ne, "<": lt, ">": gt, "<=": le, ">=": ge}
_MAPPED = b"\0" * 10 + b"\xff\xff"


def chosen(reader: Reader, block: Block, expression: Expression) -> Truth:
    """For each message of `block`, whether `expression` holds; None where it cannot be known."""
    if isinstance(expression, Not):
        return [None if value is None else not value for value in chosen(reader, block, expression.part)]
    if isinstance(expression, Comparison):
        return _test(reader, block, expression)
    columns = [chosen(reader, block, part) for part in expression.parts]
    join = _all if isinstance(expression, And) else _any
    return [join(values) for values in zip(*columns, strict=True)]


def apply(reader: Reader, block: Block, expression: Expression) -> Block | None:
    """The messages that `expression` chooses; None if there are none."""
    return block.take([value is True for value in chosen(reader, block, expression)])


def chosen_blocks(reader: Reader, blocks: Iterable[Block], text: str) -> Iterator[Block]:
    """What the filter `text` chooses of `blocks`, its states too. Raises `UsageError`."""
    return parsed_blocks(reader, blocks, parse_filter(text))


def parsed_blocks(reader: Reader, blocks: Iterable[Block], parsed: Parsed) -> Iterator[Block]:
    """The same, of a filter that was read."""
    for block in blocks:
        kept: Block | None = block
        if parsed.states is not None and (rows := reader.raw(block, ("_state",))) is not None:
            kept = block.take([parsed.states >> state & 1 for (state,) in rows])
        if kept is not None and parsed.expression is not None:
            kept = apply(reader, kept, parsed.expression)
        if kept is not None:
            yield kept


def _all(values: tuple[bool | None, ...]) -> bool | None:
    return False if False in values else None if None in values else True


def _any(values: tuple[bool | None, ...]) -> bool | None:
    return True if True in values else None if None in values else False


def _test(reader: Reader, block: Block, test: Comparison) -> Truth:
    if test.subject == "autobound":
        return _autobound(reader, block)
    if test.subject in OF_PROCESSES:
        return _processes(reader, block, test)
    column, matches = _column(reader, block, test)
    if column is None:
        return [None] * block.count
    if test.operator == "!=" and test.subject not in ("sport", "dport"):
        return [None if value is None else not matches(value) for value in column]
    return [None if value is None else matches(value) for value in column]


def _autobound(reader: Reader, block: Block) -> Truth:
    """Whether nobody asked for the port, or the name, that a socket has."""
    if block.layout.family == diag.AF_UNIX:
        return [path is None or _GIVEN_NAME.fullmatch(path) is not None for path in reader.column(block, "path") or []]
    ports = reader.column(block, "local_port")
    if ports is None or block.layout.family not in (diag.AF_INET, diag.AF_INET6):
        return [None] * block.count
    # The kernel knows who asked for a port, save of what was accepted; ss asks it, and looks at the number too.
    first, last = reader.names.ephemeral
    return [None if port is None else first <= port <= last for port in ports]


_GIVEN_NAME = re.compile("@[0-9a-f]{5}")
"""What the kernel calls a Unix socket that is bound to no name (unix(7), autobind)."""


def _column(reader: Reader, block: Block, test: Comparison) -> tuple[Sequence[Any] | None, Callable[[Any], bool]]:
    """What is compared, and whether one value is equal (or, of numbers, compares as it should)."""
    value: Any = test.value
    if test.subject in ("src", "dst"):
        return _hosts(reader, block, test.subject, value)
    if test.subject in ("sport", "dport"):
        # The kernel compares a listener's peer port too, which is 0.
        ports = reader.column(block, "local_port" if test.subject == "sport" else "peer_port")
        compare = _COMPARE[test.operator]
        return None if ports is None else [port or 0 for port in ports], lambda port: compare(port, value)
    if test.subject == "states":
        return reader.column(block, "state"), value.__contains__
    if test.subject == "dev":
        # A number is an interface's index.
        name = reader.names.interface[int(value)] if value.isdecimal() else value
        return reader.column(block, "interface"), _text_matcher(name)
    if test.subject == "fwmark":
        mark, mask = value
        return reader.column(block, "mark"), lambda found: found & mask == mark & mask
    if test.subject == "cgroup":
        return reader.column(block, "cgroup"), _text_matcher(value)
    if test.subject in TEXTS and isinstance(value, str):
        return reader.column(block, test.subject), _text_matcher(value)
    if test.subject.startswith("_"):
        rows = reader.raw(block, (test.subject,))
        column = None if rows is None else [number for (number,) in rows]
    else:
        column = reader.column(block, test.subject)
    compare = _COMPARE["=" if test.operator == "!=" else test.operator]
    return column, lambda found: compare(found, value)


def _text_matcher(wanted: str) -> Callable[[str], bool]:
    """A word, or a pattern in which `*` is any text.

    What stands between two stars is looked for once, as far left as it goes: where that fails, no other place helps.
    A regular expression would try them all, and with a few stars not end.
    """
    if "*" not in wanted:
        return wanted.__eq__
    first, *middle, last = wanted.split("*")

    def matches(text: str) -> bool:
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return matches


def _path_matcher(pattern: str) -> Callable[[str], bool]:
    """ss's: a shell's pattern, in either case (fnmatch(3), FNM_CASEFOLD)."""
    from fnmatch import translate

    matches = re.compile(translate(pattern), re.IGNORECASE).match
    return lambda path: matches(path) is not None


def _hosts(reader: Reader, block: Block, side: str, hosts: Sequence[Host]) -> tuple[Any, Callable[[Any], bool]]:
    if any(host.path is not None for host in hosts):
        paths = reader.column(block, "path") if side == "src" else None
        matchers = [_path_matcher(host.path or "") for host in hosts]
        if paths is None and block.layout.family == diag.AF_UNIX:
            paths = [None] * block.count
        return paths and [path or "" for path in paths], lambda path: any(matches(path) for matches in matchers)
    names = ("_sport", "_src") if side == "src" else ("_dport", "_dst")
    rows = reader.raw(block, ("_family", *names))
    if rows is None or block.layout.family not in (2, 10):
        return None, bool
    port = reader.names.port
    return rows, lambda row: any(_is_host(host, row[0], port[row[1]], row[2]) for host in hosts)


def _is_host(host: Host, family: int, port: int, data: bytes) -> bool:
    """As the kernel compares: an IPv4 address is that of an IPv4-mapped IPv6 socket too."""
    if host.port not in (None, port):
        return False
    if not host.address:
        return True
    own = data[:4] if family == 2 else data
    if len(host.address) == 4 and len(own) == 16 and own[:12] == _MAPPED:
        own = own[12:]
    if len(own) != len(host.address):
        return False
    shift = 8 * len(own) - host.prefix
    return int.from_bytes(own, "big") >> shift == int.from_bytes(host.address, "big") >> shift


def _processes(reader: Reader, block: Block, test: Comparison) -> Truth:
    """Whether any holder of the socket is as asked; with !=, whether none is."""
    holders, rows = reader.names.holders, reader.raw(block, ("inode",))
    if holders is None or rows is None:
        return [None] * block.count
    value: Any = test.value
    take: Callable[[Holder], Any] = {
        "pid": lambda one: one.process.pid,
        "fd": lambda one: one.fd,
        "comm": lambda one: one.process.name,
        "unit": lambda one: one.process.unit,
        "process_user": lambda one: one.process.user,
    }[test.subject]
    if test.subject in TEXTS:
        matches = _text_matcher(value)
    else:
        compare = _COMPARE["=" if test.operator == "!=" else test.operator]
        matches = lambda found: compare(found, value)  # noqa: E731
    is_negated = test.operator == "!="
    found: list[bool | None] = []
    for (inode,) in rows:
        held = holders.get(inode)
        if not held and inode and not reader.names.sees_all:
            found.append(None)
        else:
            found.append(any(matches(take(one)) for one in held) is not is_negated)
    return found
