"""The hosts of a socket filter's src and dst, in ss's words (ss(8), HOST SYNTAX).

    HOST  = [FAMILY ":"] …
    inet, inet6   ADDRESS[/PREFIX][:PORT], [ADDRESS]:PORT, NAME, :PORT, *
    unix          PATTERN of the path or the abstract name, of *, ? and [set], in either case
    link          PROTOCOL[:DEVICE], as ip:eth0 or *:1
    netlink       PROTOCOL[:PID], as rtnl:kernel
    vsock         CID[:PORT]

What is of another family than IP becomes comparisons of columns. A family that is named counts: `inet:10.0.0.1` is not
the IPv4-mapped address of an IPv6 socket, which `10.0.0.1` is.
"""

from __future__ import annotations

from echowire.core.sockets import fields
from echowire.core.sockets.filter_tree import And, Comparison, Expression, Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Port = Callable[[str], int]
    Resolve = Callable[[str], list[bytes]] | None

FAMILIES = ("inet6", "inet", "unix", "link", "netlink", "vsock")
ETH_P_ALL = 3


class HostError(ValueError):
    """What is wrong with a host."""


def port_of_family(word: str) -> tuple[int | None, str]:
    """Version of IP, if `inet:` or `inet6:` says one, and the port, of `:443`, `443`, `*:443`, `inet::443`."""
    version = None
    for name, number in (("inet6:", 6), ("inet:", 4)):
        if word.startswith(name):
            version, word = number, word.removeprefix(name)
    return version, word.removeprefix("*").removeprefix(":")


def host_expression(side: str, word: str, family: str, port: Port, resolve: Resolve) -> Expression:
    """What a host says of a socket's `side`, src or dst. `port` reads a port, and raises what is not one.

    Raises `HostError`.
    """
    named, _, rest = word.partition(":")
    if named in FAMILIES and word != named:
        family, is_named = named, True
        word = rest
    else:
        is_named = False
    if family == "unix" or (not is_named and _is_path(word)):
        return _unix(side, word)
    if family == "link":
        return _link(side, word)
    if family == "netlink":
        return _netlink(side, word)
    if family == "vsock":
        return _vsock(side, word)
    hosts = Comparison(side, "=", _addresses(word, port, resolve))
    return And([hosts, Comparison("family", "=", 6 if family == "inet6" else 4)]) if is_named else hosts


def _is_path(word: str) -> bool:
    """Whether it can only be a Unix socket's: `/run/x`, `@name`, `*x.sock`."""
    return word.startswith(("/", "@")) or (word[:1] == "*" and word[1:2] not in ("", ":"))


def _unix(side: str, pattern: str) -> Expression:
    if side == "dst" and pattern != "*":
        raise HostError("the kernel does not say the path of a Unix socket's peer; compare src, or peer_inode = NUMBER")
    return Comparison("src", "=", [Host(path=pattern)])


def _link(side: str, word: str) -> Expression:
    protocol, _, device = word.partition(":")
    tests: list[Expression] = [Comparison("netid", "=", "p_*")]
    if side == "dst" and (protocol, device) not in (("*", ""), ("*", "*"), ("", "")):
        raise HostError("a packet socket has no peer; compare src")
    if protocol not in ("", "*"):
        numbers = {name.lower(): number for number, name in fields.PACKET_PROTOCOLS.items()} | {"all": ETH_P_ALL}
        number = numbers.get(protocol.lower())
        if number is None:
            try:
                number = int(protocol, 0)
            except ValueError:
                raise HostError(f"'{protocol}' is no protocol of packets; write ip, arp, ipv6, or 0x0800") from None
        tests.append(Comparison("protocol", "=", number))
    if device not in ("", "*"):
        tests.append(Comparison("dev", "=", device))
    return And(tests)


def _netlink(side: str, word: str) -> Expression:
    protocol, _, owner = word.partition(":")
    tests: list[Expression] = [Comparison("netid", "=", "nl")]
    if protocol not in ("", "*"):
        if protocol not in fields.NETLINK_PROTOCOLS.values() and not protocol.isdecimal():
            raise HostError(f"'{protocol}' is no protocol of netlink; write rtnl, genl, or its number")
        name = fields.NETLINK_PROTOCOLS.get(int(protocol), protocol) if protocol.isdecimal() else protocol
        tests.append(Comparison("protocol", "=", name))
    if owner not in ("", "*"):
        if owner != "kernel" and not owner.isdecimal():
            raise HostError(f"'{owner}' is no port of netlink; write kernel, or a process's number")
        tests.append(Comparison(_PORTS[side], "=", 0 if owner == "kernel" else int(owner)))
    return And(tests)


def _vsock(side: str, word: str) -> Expression:
    cid, _, port = word.partition(":")
    tests: list[Expression] = [Comparison("netid", "=", "v_*")]
    for value, column in ((cid, "local_address" if side == "src" else "peer_address"), (port, _PORTS[side])):
        if value in ("", "*"):
            continue
        if not value.isdecimal():
            raise HostError(f"'{value}' is no number; a host of vsock is CID:PORT")
        tests.append(Comparison(column, "=", value if column.endswith("address") else int(value)))
    return And(tests)


_PORTS = {"src": "local_port", "dst": "peer_port"}


def _addresses(word: str, port: Port, resolve: Resolve) -> list[Host]:
    host, service = _split(word)
    number = None if service in (None, "", "*") else port(str(service))
    if host in ("", "*"):
        return [Host(port=number)]
    text, _, bits = host.partition("/")
    # As elsewhere in iproute2, 10/8 is 10.0.0.0/8.
    addresses = _packed(text + ".0" * (3 - text.count(".")) if bits and text.replace(".", "").isdecimal() else text)
    if not addresses and resolve and not bits:
        addresses = resolve(text)
    if not addresses:
        raise HostError(f"'{text}' is not an address")
    wide = 8 * len(addresses[0])
    if bits and not (bits.isascii() and bits.isdigit() and len(bits) < 4 and int(bits) <= wide):
        raise HostError(f"'/{bits}' is not a prefix; an address has {wide} bits")
    return [Host(address, int(bits) if bits else 8 * len(address), number) for address in addresses]


def _split(word: str) -> tuple[str, str | None]:
    """Host and port of `10.0.0.0/8:443`, `[::1]:80`, `::1`, `*:80`, `:80`."""
    if word.startswith("["):
        host, _, rest = word[1:].partition("]")
        prefix, _, port = rest.partition(":")
        return host + prefix, port or None
    if word.count(":") > 1:
        return word, None
    host, colon, port = word.partition(":")
    return host, port if colon else None


def _packed(text: str) -> list[bytes]:
    from ipaddress import ip_address

    try:
        return [ip_address(text).packed]
    except ValueError:
        return []
