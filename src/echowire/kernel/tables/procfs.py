"""What /proc tells this user about the sockets, addresses, routes and settings of this network namespace.

The `parse_` functions are pure: lines in, values out. The others read the file and give what could be read:
an absent file is an empty answer, never an error. Formats: proc_pid_net(5), Documentation/networking/proc_net_tcp.rst.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from echowire.core.failures.facts import Network, Process, SocketEntry
from echowire.kernel.tables import processes
from echowire.kernel.tables.raw_sockets import packed_address
from echowire.model import Endpoint, Transport

NET = Path("/proc/thread-self/net")
"""This thread's network namespace; /proc/net follows the main thread's only."""

TCP_STATES = {
    0x01: "ESTAB",
    0x02: "SYN-SENT",
    0x03: "SYN-RECV",
    0x04: "FIN-WAIT-1",
    0x05: "FIN-WAIT-2",
    0x06: "TIME-WAIT",
    0x07: "UNCONN",
    0x08: "CLOSE-WAIT",
    0x09: "LAST-ACK",
    0x0A: "LISTEN",
    0x0B: "CLOSING",
    0x0C: "SYN-RECV",
}
"""The states of include/net/tcp_states.h by ss's names; UDP uses two of them, 01 and 07."""

UNIX_STATES = {0x01: "UNCONN", 0x02: "SYN-SENT", 0x03: "ESTAB", 0x04: "CLOSING"}
"""`socket_state` of linux/net.h, as ss names it."""

UNIX_ACCEPTS = 0x10000
"""`__SO_ACCEPTCON` in the flags of /proc/net/unix: the socket listens."""

UNIX_TYPES: dict[int, Transport] = {1: "unix", 2: "unixgram", 5: "unixseqpacket"}
"""SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET, which is a connection too."""


def parse_inet(
    lines: Iterable[str], transport: Transport, *, local_port: int | None = None, peer_port: int | None = None
) -> Iterator[SocketEntry]:
    """The sockets of /proc/net/{tcp,tcp6,udp,udp6}, its heading included; only those on the ports, if given.

    A line of another port is passed over on its text alone, so that 100,000 sockets cost little.
    """
    local_text = "" if local_port is None else f":{local_port:04X} "
    peer_text = "" if peer_port is None else f":{peer_port:04X} "
    for line in lines:
        if local_text not in line or peer_text not in line:
            continue
        words = line.split()
        if len(words) < 10 or words[0] == "sl":
            continue
        (host, port), (peer_host, remote_port) = _address(words[1]), _address(words[2])
        if local_port not in (None, port) or peer_port not in (None, remote_port):
            continue
        send_queue, _, receive_queue = words[4].partition(":")
        yield SocketEntry(
            local=Endpoint(transport, host, port),
            peer=Endpoint(transport, peer_host, remote_port) if remote_port else None,
            state=TCP_STATES.get(int(words[3], 16), "UNKNOWN"),
            inode=int(words[9]),
            uid=int(words[7]),
            receive_queue=int(receive_queue, 16),
            send_queue=int(send_queue, 16),
        )


@lru_cache(1024)
def _address(text: str) -> tuple[str, int]:
    """Host and port of `0100007F:0050`."""
    packed, port = packed_address(text)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), port


def parse_unix(lines: Iterable[str], path: str | None = None) -> Iterator[SocketEntry]:
    """The sockets of /proc/net/unix, its heading included; only those bound to `path`, if given.

    The queues are not in that file, and a socket without a name has an empty path.
    """
    for line in lines:
        if path is not None and not line.endswith(f" {path}\n"):
            continue
        words = line.rstrip("\n").split(maxsplit=7)
        if len(words) < 7 or words[0] == "Num":
            continue
        name = words[7] if len(words) > 7 else ""
        if path not in (None, name):
            continue
        listens = int(words[3], 16) & UNIX_ACCEPTS
        yield SocketEntry(
            local=Endpoint(UNIX_TYPES.get(int(words[4], 16), "unix"), path=name),
            peer=None,
            state="LISTEN" if listens else UNIX_STATES.get(int(words[5], 16), "UNKNOWN"),
            inode=int(words[6]),
        )


def sockets(
    transport: Transport, *, local_port: int | None = None, peer_port: int | None = None
) -> Iterator[SocketEntry]:
    """The TCP or UDP sockets of this namespace, IPv4 before IPv6, on the given ports if any; TLS is TCP here.

    A TCP socket that is bound and does not listen is in no table of /proc.
    """
    table: Transport = "udp" if transport == "udp" else "tcp"
    for name in (table, f"{table}6"):
        yield from parse_inet(_lines(name), table, local_port=local_port, peer_port=peer_port)


def unix_sockets(path: str | None = None) -> Iterator[SocketEntry]:
    """The Unix sockets of this namespace, of both kinds, bound to `path` if given (`@` begins an abstract name)."""
    yield from parse_unix(_lines("unix"), path)


def _lines(name: str) -> Iterator[str]:
    with suppress(OSError), (NET / name).open(encoding="utf-8", errors="surrogateescape") as file:
        yield from file


def holders(inodes: Iterable[int]) -> dict[int, Process]:
    """The process that holds each socket inode, found by walking /proc/PID/fd; ends as soon as all are found.

    Where several hold one, the first in /proc. What may not be seen is absent (`processes.sees_all_processes`).
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes if inode}
    found: dict[int, Process] = {}
    for pid in processes.pids():
        if not wanted:
            break
        with suppress(OSError):
            for _, link in processes.links(pid):
                inode = wanted.pop(link, None)
                if inode is not None:
                    found[inode] = Process(pid, processes.name_of(pid))
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def sysctl(name: str) -> tuple[int, ...] | None:
    """The numbers of a setting such as `net.ipv4.ip_local_port_range`; None where it is absent or no number.

    An interface name that holds a dot is written with a slash, as in sysctl(8).
    """
    words = _text("/proc/sys/" + name.translate(str.maketrans("./", "/."))).split()
    try:
        return tuple(int(word) for word in words) or None
    except ValueError:
        return None


def parse_local_addresses(fib_trie: Iterable[str], if_inet6: Iterable[str]) -> tuple[Network, ...]:
    """What this host takes for its own, from /proc/net/fib_trie (`host LOCAL` leaves) and /proc/net/if_inet6."""
    found: dict[Network, None] = {}
    leaf = ""
    for line in fib_trie:
        text = line.strip()
        if text.startswith("|-- "):
            leaf = text[4:]
        elif text.endswith("host LOCAL"):
            found[ipaddress.ip_network(leaf + text.split()[0])] = None
    for line in if_inet6:
        found[ipaddress.ip_network(bytes.fromhex(line.split()[0]))] = None
    return tuple(found)


def local_addresses() -> tuple[Network, ...] | None:
    """What this host takes for its own; None where the tables cannot be read."""
    return parse_local_addresses(_lines("fib_trie"), _lines("if_inet6")) or None


@dataclass(frozen=True, slots=True)
class Route:
    """One line of a routing table: `gateway` is None for a network on the link itself."""

    network: Network
    gateway: str | None
    interface: str


def parse_routes(route: Iterable[str]) -> Iterator[Route]:
    """The usable IPv4 routes of /proc/net/route, its heading included (the main and default tables)."""
    for line in route:
        words = line.split()
        if len(words) < 8 or words[0] in ("Iface", "*"):
            continue
        destination, gateway, mask = (ipaddress.IPv4Address(_address(words[at] + ":0")[0]) for at in (1, 2, 7))
        yield Route(ipaddress.IPv4Network(f"{destination}/{mask}"), str(gateway) if int(gateway) else None, words[0])


def next_hop(host: str, routes: Iterable[Route]) -> str | None:
    """Who is asked on the link for the IPv4 address `host`: itself, or the gateway of the longest match."""
    address = ipaddress.ip_address(host)
    matching = [route for route in routes if address in route.network]
    if not matching:
        return None
    return max(matching, key=lambda route: route.network.prefixlen).gateway or host


def routes() -> Iterator[Route]:
    """The IPv4 routes of this namespace."""
    return parse_routes(_lines("route"))


ARP_COMPLETE = 0x2
"""`ATF_COM` (linux/if_arp.h): the neighbour has answered."""


def parse_neighbours(arp: Iterable[str]) -> dict[str, bool]:
    """Of /proc/net/arp: each IPv4 neighbour, and whether it has answered."""
    table: dict[str, bool] = {}
    for line in arp:
        words = line.split()
        if len(words) >= 6 and words[0] != "IP":
            table[words[0]] = table.get(words[0], False) or bool(int(words[2], 16) & ARP_COMPLETE)
    return table


def neighbours() -> dict[str, bool]:
    """Each IPv4 neighbour that was asked for, and whether it has answered. IPv6's are not in /proc."""
    return parse_neighbours(_lines("arp"))


def parse_nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The servers of a resolv.conf(5); the resolver's own default where it names none."""
    lines = (line.split() for line in resolv_conf.splitlines())
    found = tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
    return found or ("127.0.0.1",)


def nameservers() -> tuple[str, ...]:
    """The name servers that this process's resolver asks."""
    return parse_nameservers(_text("/etc/resolv.conf"))
