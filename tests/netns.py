"""Hosts for tests: network namespaces joined by veth pairs, each with its own addresses, routes and firewall.

    with namespaces(2) as (client, server):
        link(client, server, "10.0.0.1/24", "10.0.0.2/24")
        server.nft("add rule inet test input tcp dport 80 drop")
        with client.inside():
            socket.create_connection(("10.0.0.2", 80), 1)      # a plain socket of `client`

`chain(5)` makes five hosts in a row that route for each other. A namespace has `lo` up, IPv6 without the wait for
duplicate addresses, and an empty nftables table `inet test` with the chains `input`, `output` and `forward`.
Everything is removed at the end, whatever happens; what a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PREFIX = "ewt"
CLONE_NEWNET = 0x40000000  # linux/sched.h
COMMAND_SECONDS = 20.0
"""Within which any `ip` or `nft` ends; they take milliseconds."""

_NUMBERS = itertools.count()
_LIBC = ctypes.CDLL(None, use_errno=True)

NFT_TABLE = """
add table inet test
add chain inet test input { type filter hook input priority 0; }
add chain inet test output { type filter hook output priority 0; }
add chain inet test forward { type filter hook forward priority 0; }
"""


def _command(*words: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """One host. Made by `namespaces`, which also removes it."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(_NUMBERS)}"
        self.addresses: list[str] = []
        """Its addresses on links, in the order in which they were given, without prefix lengths."""
        self.devices: list[str] = []
        self.has_rules = False
        """Whether a firewall rule was given since the last flush, which takes a while."""
        self._started: list[subprocess.Popen[Any]] = []
        _command("ip", "netns", "add", self.name)
        try:
            self.ip("link set lo up")
            for name in ("all", "default"):
                self.sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
                self.sysctl(f"net.ipv6.conf.{name}.router_solicitations", 0)
        except BaseException:
            self.remove()
            raise

    def __repr__(self) -> str:
        return f"<Namespace {self.name} {' '.join(self.addresses)}>"

    def ip(self, arguments: str) -> str:
        """Run `ip ARGUMENTS` here, such as `route add default via 10.0.0.2`; returns its output."""
        return _command("ip", "-n", self.name, *arguments.split())

    def nft(self, rules: str) -> str:
        """Give nft(8) `rules`; the table `inet test` and its chains are there. Skips the test where nft cannot."""
        if reason := why_not(nft=True):
            pytest.skip(reason)
        self.has_rules = True
        return self._nft(rules)

    def _nft(self, rules: str) -> str:
        return _command("ip", "netns", "exec", self.name, "nft", "-f", "-", text=NFT_TABLE + rules + "\n")

    def flush(self) -> None:
        """Remove all firewall rules."""
        self.nft("flush ruleset")
        self.has_rules = False

    def sysctl(self, name: str, value: object) -> None:
        """Set `net.…` to `value`; a dot within an interface name is written as a slash."""
        path = "/proc/sys/" + name.translate(str.maketrans("./", "/."))
        with self.inside():
            Path(path).write_text(f"{value}\n")

    def run(self, *words: str, check: bool = True) -> str:
        """Run a program here to its end; returns its standard output."""
        return _command("ip", "netns", "exec", self.name, *words, check=check)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a program here; it is ended with the namespace. `options` are Popen's."""
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *words], **options)
        self._started.append(process)
        return process

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread, and what it starts, be on this host. A socket stays where it was made.

        Only the network changes: files, /etc/resolv.conf among them, are the same.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
        """A socket of this host, which any thread may use."""
        with self.inside():
            return socket.socket(family, kind, protocol)

    def remove(self) -> None:
        """End what was started here and remove the namespace."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with suppress(RuntimeError, subprocess.TimeoutExpired):
            _command("ip", "netns", "del", self.name)


def _setns(descriptor: int) -> None:
    # os.setns is there from Python 3.12.
    if _LIBC.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


@contextmanager
def namespaces(count: int = 1) -> Iterator[tuple[Namespace, ...]]:
    """`count` hosts that are not yet linked. Skips the test where they cannot be made."""
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Namespace())
            stack.callback(made[-1].remove)
        yield tuple(made)


def link(one: Namespace, other: Namespace, ours: Sequence[str] | str, theirs: Sequence[str] | str) -> tuple[str, str]:
    """Join two hosts by a veth pair with these addresses (`10.0.0.1/24`, `fd00::1/64`); returns the device names."""
    names = tuple(f"veth{len(host.devices)}" for host in (one, other))
    _command(
        *("ip", "link", "add", names[0], "netns", one.name, "type", "veth"),
        *("peer", "name", names[1], "netns", other.name),
    )
    for host, name, addresses in ((one, names[0], ours), (other, names[1], theirs)):
        host.devices.append(name)
        for address in [addresses] if isinstance(addresses, str) else addresses:
            host.ip(f"address add {address} dev {name}" + (" nodad" if ":" in address else ""))
            host.addresses.append(address.partition("/")[0])
        host.ip(f"link set {name} up")
    for host, name in zip((one, other), names, strict=True):
        # To ask for a device makes the kernel act on its carrier now, not within a second; until it has, IPv6 there
        # answers nobody (rtnl_getlink in net/core/rtnetlink.c).
        host.ip(f"link show dev {name}")
    return names[0], names[1]


@contextmanager
def narrow(left: Namespace, right: Namespace, mtu: int) -> Iterator[None]:
    """Give the link from `left`'s second device to `right`'s first, as a chain has it, an MTU for a while."""
    ends = ((left, left.devices[1]), (right, right.devices[0]))
    for host, device in ends:
        host.ip(f"link set {device} mtu {mtu}")
    try:
        yield
    finally:
        for host, device in ends:
            host.ip(f"link set {device} mtu 1500")


@contextmanager
def chain(count: int) -> Iterator[tuple[Namespace, ...]]:
    """`count` hosts in a row, each with a route to all: host i and i+1 share 10.77.i.0/24 and fd77:0:0:i::/64.

    On link i the left one is 10.77.i.1 and fd77:0:0:i::1, the right one .2. Those within forward.
    """
    with namespaces(count) as hosts:
        for number, (left, right) in enumerate(itertools.pairwise(hosts)):
            v4, v6 = f"10.77.{number}.", f"fd77:0:0:{number}::"
            link(left, right, (f"{v4}1/24", f"{v6}1/64"), (f"{v4}2/24", f"{v6}2/64"))
        for at, host in enumerate(hosts):
            if 0 < at < count - 1:
                host.sysctl("net.ipv4.ip_forward", 1)
                host.sysctl("net.ipv6.conf.all.forwarding", 1)
            for number in range(count - 1):
                if number < at - 1:
                    host.ip(f"route add 10.77.{number}.0/24 via 10.77.{at - 1}.1")
                    host.ip(f"-6 route add fd77:0:0:{number}::/64 via fd77:0:0:{at - 1}::1")
                elif number > at:
                    host.ip(f"route add 10.77.{number}.0/24 via 10.77.{at}.2")
                    host.ip(f"-6 route add fd77:0:0:{number}::/64 via fd77:0:0:{at}::2")
        yield hosts


@functools.cache
def why_not(*, nft: bool = False) -> str | None:
    """Why this run can make no namespaces (or, with `nft`, no firewall rules in them); None if it can."""
    if os.geteuid():
        return "network namespaces need root"
    for tool in ("ip", "nft") if nft else ("ip",):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    _sweep()
    try:
        trial = Namespace()
        try:
            trial.ip("link add trial0 type veth peer name trial1")
            if nft:
                trial._nft("")
        finally:
            trial.remove()
    except (RuntimeError, OSError) as error:
        return f"no network namespace can be made: {error}"
    return None


def _sweep() -> None:
    """Remove the namespaces of runs that were killed: those whose process is gone."""
    for name in _command("ip", "netns", "list", check=False).split():
        made_by = re.fullmatch(rf"{PREFIX}-(\d+)-\d+", name)
        if made_by and not Path(f"/proc/{made_by[1]}").exists():
            _command("ip", "netns", "del", name, check=False)
