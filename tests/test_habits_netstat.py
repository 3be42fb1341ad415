"""Habits of netstat, nstat, ip and iperf 2: what one types there, and what one types here, side by side and compared.

Each test is a habit: it runs the other program and ours on the same host, which is a namespace of its own so that
nothing moves between the two, and holds the figures of one against the other.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import echowire
from tests.bridged import bridged
from tests.netns import Namespace, link, namespaces
from tests.peers import needs
from tests.processes import COMMAND

GROUP = "239.7.7.7"


def ours(host: Namespace, *words: str, variables: dict[str, str] | None = None) -> str:
    """What `echowire WORDS` prints on `host`."""
    with host.inside():
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, timeout=60, env={**os.environ, **(variables or {})}
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(host: Namespace, *words: str) -> Any:
    return json.loads(ours(host, "sockets", *words, "--json"))


def theirs(host: Namespace, *words: str) -> str:
    """What the other program prints."""
    return host.run(*words)


@contextmanager
def host_with_traffic() -> Iterator[tuple[Namespace, Namespace]]:
    """Two hosts that have talked TCP, UDP and ICMP, and do no more; the first has a TCP and a UDP listener."""
    with namespaces(2) as (host, peer):
        link(host, peer, ("10.9.0.1/24", "fd09::1/64"), ("10.9.0.2/24", "fd09::2/64"))
        with host.inside():
            server = echowire.serve("tcp://10.9.0.1:7000", "udp://10.9.0.1:7001")
        with server:
            with peer.inside():
                for endpoint in ("tcp://10.9.0.1:7000", "udp://10.9.0.1:7001"):
                    with echowire.call(endpoint) as caller:
                        assert caller.echo(b"x" * 1000) == b"x" * 1000
                echowire.ping("10.9.0.1", "fd09::1", count=2, interval_s=0.01)
            yield host, peer


def at_rest(look: Callable[[], str], mine: Callable[[], Any]) -> tuple[str, Any]:
    """What the other program says before and after `mine`, which is the same, and what `mine` gave in between."""
    while True:
        before, found, after = look(), mine(), look()
        if before == after:  # else a host's own IPv6 has said something meanwhile, as it does in its first seconds
            return after, found


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# --- netstat ---------------------------------------------------------------------------------------------------------


@needs("netstat")
def test_netstat_i_is_interfaces() -> None:
    """`netstat -i`: packets, errors and drops of each interface."""
    with host_with_traffic() as (host, _):
        told, (given, text) = at_rest(
            lambda: theirs(host, "netstat", "-i"),
            lambda: (document(host, "--interfaces")["interfaces"], ours(host, "sockets", "--interfaces")),
        )
    table = {row[0]: row for row in rows(told)[2:]}
    found = {one["name"]: one for one in given}
    line = next(row for row in rows(text) if row[0] == "veth0")
    for name, (_, mtu, rx, rx_err, rx_drop, _, tx, tx_err, tx_drop, *_) in table.items():
        counters = found[name]["counters"]
        assert found[name]["mtu"] == int(mtu)
        names = ("rx_packets", "rx_errors", "rx_dropped", "tx_packets", "tx_errors", "tx_dropped")
        assert [counters[key] for key in names] == list(map(int, (rx, rx_err, rx_drop, tx, tx_err, tx_drop)))
    assert set(table) == {"lo", "veth0"} and int(table["veth0"][2]) > 5
    assert line[4] == table["veth0"][2]  # the same packets, in the table for people


@needs("netstat")
def test_netstat_rn_is_routes() -> None:
    """`netstat -rn`, and `netstat -rn -6`: the main table."""
    with host_with_traffic() as (host, _):
        host.ip("route add default via 10.9.0.2")
        host.ip("route add 10.20.0.0/16 via 10.9.0.2 metric 7")
        host.ip("-6 route add default via fd09::2")
        told = {(row[0], row[1], row[2], row[7]) for row in rows(theirs(host, "netstat", "-rn"))[2:]}
        six = {(row[0], row[-1]) for row in rows(theirs(host, "netstat", "-rn", "-6"))[2:]}
        found = document(host, "--routes")["routes"]
    mine = set()
    for route in found:
        address, _, bits = route["destination"].partition("/")
        if route["family"] == "ipv4":
            mask = socket.inet_ntoa(((0xFFFFFFFF << (32 - int(bits))) & 0xFFFFFFFF).to_bytes(4, "big"))
            [hop] = route["hops"]
            mine.add((address, hop["gateway"] or "0.0.0.0", mask, hop["interface"]))
    assert mine == told and len(mine) == 3
    of_six = {(route["destination"], route["hops"][0]["interface"]) for route in found if route["family"] == "ipv6"}
    shown = {(destination.replace("[::]/0", "::/0"), interface) for destination, interface in six}
    assert of_six <= shown  # netstat has the local table's, too


@needs("netstat")
def test_netstat_gn_is_groups() -> None:
    """`netstat -gn`: interface, how many have joined, the group; of both families."""
    with host_with_traffic() as (host, _), _joined(host):
        told = {(row[0], row[2], int(row[1])) for row in rows(theirs(host, "netstat", "-gn"))[3:]}
        found = document(host, "-g")["memberships"]
        text = ours(host, "sockets", "-g")
    mine = {(one["interface"], one["group"], one["users"]) for one in found if one["family"] != "link"}
    assert mine == told and ("veth0", GROUP, 1) in mine
    [line] = [line for line in text.splitlines() if GROUP in line]
    assert f"[{os.getpid()}] 0.0.0.0:7777" in line  # which netstat does not tell


@contextmanager
def _joined(host: Namespace) -> Iterator[socket.socket]:
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 7777))
        with host.inside():
            index = socket.if_nametoindex("veth0")
        request = socket.inet_aton(GROUP) + bytes(4) + index.to_bytes(4, "little")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        yield sock


@needs("netstat")
def test_netstat_s_is_counters() -> None:
    """`netstat -s`: its sentences are counters, some with another name for the same number."""
    sentences = {
        r"(\d+) total packets received": "IpInReceives",
        r"(\d+) requests sent out": "IpOutRequests",
        r"(\d+) active connection openings": "TcpActiveOpens",
        r"(\d+) passive connection openings": "TcpPassiveOpens",
        r"(\d+) segments received": "TcpInSegs",
        r"(\d+) segments sent out": "TcpOutSegs",
        r"(\d+) ICMP messages received": "IcmpInMsgs",
        r"InOctets: (\d+)": "IpExtInOctets",
    }
    with host_with_traffic() as (host, _):
        told, given = at_rest(lambda: theirs(host, "netstat", "-s"), lambda: document(host, "--counters")["counters"])
    found = {one["name"]: one for one in given}
    for sentence, name in sentences.items():
        matched = re.search(sentence, told)
        assert matched, sentence
        assert found[name]["value"] == int(matched[1]), name
        assert found[name]["meaning"], name
    assert found["TcpPassiveOpens"]["value"] == 1


@needs("netstat")
def test_netstat_tulpn_is_tulpn() -> None:
    """`netstat -tulpn`: the letters are the same; who listens where."""
    with host_with_traffic() as (host, _):
        told = {(row[0], row[3]) for row in rows(theirs(host, "netstat", "-tulpn"))[2:]}
        lines = [row for row in rows(ours(host, "sockets", "-tulpn"))[1:] if row]
    mine = {(row[0], row[4].rstrip("!")) for row in lines}
    assert mine == told == {("tcp", "10.9.0.1:7000"), ("udp", "10.9.0.1:7001")}
    assert all(f"pid={os.getpid()}" in " ".join(row) for row in lines)


def test_netstat_s_letters_that_mean_something_else_here_name_the_long_form() -> None:
    """`-i`, `-r` and `-s` are ss's, as in ss: the help says where netstat's are."""
    done = subprocess.run([*COMMAND, "sockets", "--help"], capture_output=True, text=True, timeout=60)
    told = " ".join(done.stdout.split())
    for letter, name in (("-i", "--interfaces"), ("-r", "--routes"), ("-s", "--counters")):
        assert f"(netstat {letter}: {name})" in told


# --- nstat -----------------------------------------------------------------------------------------------------------


@needs("nstat")
def test_nstat_az_is_counters_a() -> None:
    """`nstat -az`: every counter by its name, zeros too."""
    with host_with_traffic() as (host, _):
        listed, given = at_rest(lambda: theirs(host, "nstat", "-az"), lambda: document(host, "--counters")["counters"])
        told = {row[0]: int(row[1]) for row in rows(listed)[1:]}
        found = {one["name"]: one for one in given}
        shown = ours(host, "sockets", "--counters", "-a", "Tcp*")
    assert {name: found[name]["value"] for name in told} == told and len(told) > 300
    assert all(one["is_gauge"] for name, one in found.items() if name not in told and one["value"])
    assert "TcpExtListenOverflows" in shown and "UdpNoPorts" not in shown


def test_nstat_again_shows_what_moved_since(tmp_path: Path) -> None:
    """`nstat`, and `nstat` again: the second tells what has happened since the first."""
    where = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with host_with_traffic() as (host, peer):
        first = ours(host, "sockets", "--counters", variables=where)
        assert "since start" in first and "TcpPassiveOpens" in first
        with peer.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(3):
                sock.sendto(b"x", ("10.9.0.1", 9))  # a port that nobody has
        second = ours(host, "sockets", "--counters", "Udp*", variables=where)
    lines = [line for line in second.splitlines() if "UdpNoPorts" in line]
    assert re.fullmatch(r"! +UdpNoPorts +3 +\+3 +.*somebody calls a port that no program here has open", lines[0])
    assert "UdpInDatagrams" not in second  # which had not moved
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "echowire").iterdir()] == [0o600]


# --- ip --------------------------------------------------------------------------------------------------------------


def test_ip_maddr_is_groups() -> None:
    """`ip maddr`: groups of both families, and with -a the addresses of the link layer."""
    with host_with_traffic() as (host, _), _joined(host):
        told = json.loads(theirs(host, "ip", "-j", "maddr"))
        found = document(host, "--groups", "-a")["memberships"]
        text = ours(host, "sockets", "--groups", "-a")
    families = {"inet": "ipv4", "inet6": "ipv6"}
    expected = {
        (link["ifname"], families.get(one.get("family", ""), "link"), one.get("address") or one["link"])
        for link in told
        for one in link["maddr"]
    }
    assert {(one["interface"], one["family"], one["group"]) for one in found} == expected
    assert "01:00:5e:07:07:07" in text


def test_ip_s_link_is_interfaces() -> None:
    """`ip -s link`: the same counters, to the last byte."""
    with host_with_traffic() as (host, _):
        listed, given = at_rest(
            lambda: theirs(host, "ip", "-j", "-s", "link"), lambda: document(host, "--interfaces")["interfaces"]
        )
    told, found = json.loads(listed), {one["name"]: one for one in given}
    for one in told:
        mine, rx, tx = found[one["ifname"]], one["stats64"]["rx"], one["stats64"]["tx"]
        assert (mine["state"], mine["mtu"]) == (one["operstate"], one["mtu"])
        assert set(one["flags"]) - {"NO-CARRIER", "LOWER_UP"} <= set(mine["flags"])
        for side, counters in (("rx", rx), ("tx", tx)):
            for name in ("bytes", "packets", "errors", "dropped"):
                assert mine["counters"][f"{side}_{name}"] == counters[name], (one["ifname"], side, name)


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_ip_route_is_routes(family: str) -> None:
    """`ip route show table all`: every table, several gateways, and what leads nowhere."""
    with host_with_traffic() as (host, _):
        network, first, second = ("10.30.0.0/16", "10.9.0.2", "10.9.0.3") if family == "-4" else (
            "fd30::/32", "fd09::2", "fd09::3",
        )  # fmt: skip
        host.ip(f"{family} route add {network} nexthop via {first} weight 2 nexthop via {second}")
        host.ip(f"{family} route add {network} via {first} table 77 metric 5 mtu 1280")
        host.ip(f"{family} route add blackhole {network} metric 900")
        told = json.loads(theirs(host, "ip", "-j", family, "route", "show", "table", "all"))
        found = document(host, "--routes", "-a", family)["routes"]
    assert len(found) == len(told)
    [several] = [one for one in found if len(one["hops"]) == 2]
    assert [(hop["gateway"], hop["weight"]) for hop in several["hops"]] == [(first, 2), (second, 1)]
    assert [(one["mtu"], one["metric"]) for one in found if one["table"] == "77"] == [(1280, 5)]
    assert [one["destination"] for one in found if one["type"] == "blackhole"] == [network]
    expected = sorted((one["dst"].partition("/")[0].replace("default", ""), one.get("table", "main")) for one in told)
    default = ("0.0.0.0/0", "::/0")
    mine = sorted(
        ("" if one["destination"] in default else one["destination"].partition("/")[0], one["table"]) for one in found
    )
    assert mine == expected


def test_ip_netns_exec_is_n() -> None:
    """`ip netns exec NAME ip …`: -N, as of the sockets."""
    with host_with_traffic() as (host, _), _joined(host):
        done = [
            subprocess.run(
                [*COMMAND, "sockets", *table, "-N", host.name], capture_output=True, text=True, timeout=60
            ).stdout
            for table in (["-g"], ["--routes"], ["--interfaces"], ["--counters", "-a", "TcpPassiveOpens"])
        ]
    assert GROUP in done[0] and "10.9.0.0/24" in done[1] and "veth0" in done[2]
    assert re.search(r"TcpPassiveOpens +1 ", done[3])


# --- watching --------------------------------------------------------------------------------------------------------


@needs("netstat")
def test_netstat_ic_is_interfaces_watch() -> None:
    """`netstat -ic`, and sums by hand: here what went by a second."""
    with host_with_traffic() as (host, peer):
        words = [*COMMAND, "sockets", "--interfaces", "--watch", "1s", "-c", "2", "--jsonl", "-N", host.name, "veth0"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline())]
        with peer.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(50):
                sock.sendto(b"x" * 58, ("10.9.0.1", 7001))  # 100 bytes with its headers
        before = int({row[0]: row for row in rows(theirs(host, "netstat", "-i"))[2:]}["veth0"][2])
        lines.append(json.loads(process.stdout.readline()))
        process.communicate(timeout=30)
    [interface] = lines[1]["interfaces"]
    assert before - interface["counters"]["rx_packets"] <= 0
    assert round(interface["rates"]["rx_packets_per_s"] * lines[1]["since_s"]) >= 50


# --- iperf 2 ---------------------------------------------------------------------------------------------------------


@needs("iperf")
def test_iperf_s_is_serve_and_its_member_is_named() -> None:
    """`iperf -s -u -B 239.x`: who else has joined is seen with its process, and ours beside it on one port."""
    with bridged(2) as (_, caller, host):
        peer = host.start("iperf", "-s", "-u", "-B", f"{GROUP}%veth0", "-p", "6000", stdout=subprocess.DEVNULL)
        pause = threading.Event()
        while GROUP not in host.run("ip", "maddr", "show", "dev", "veth0"):
            pause.wait(0.02)
        with host.inside():
            server = echowire.serve(f"udp://{GROUP}%veth0:6000")
        with server:
            found = document(host, "-g")["memberships"]
            caller.ip("route add 239.0.0.0/8 dev veth0")
            words = ("-c", GROUP, "-u", "-p", "6000", "-T", "1", "-t", "1", "-b", "200pps", "-l", "100")
            told = caller.run("iperf", *words, check=False)
        assert peer.poll() is None
    [membership] = [one for one in found if one["group"] == GROUP]
    assert {member["process"] for member in membership["members"]} >= {"iperf"}
    assert membership["users"] == 2 == len(membership["members"])
    sent = re.search(r"Sent (\d+) datagrams", told)
    assert sent and abs(server.summary.datagrams_received - int(sent[1])) <= 10


@needs("iperf")
def test_iperf_c_u_to_a_group_is_bench_send() -> None:
    """`iperf -c 239.x -u -b 500pps -t 1`: as many, at the same pace, counted by who has joined."""
    with bridged(2) as (_, caller, host), _joined(host) as sock:
        told = ours(
            caller, "bench", "-u", "--send", f"{GROUP}%veth0", "7777", "-n", "200", "--rate", "500/s", "-s", "100"
        )
        sock.setblocking(False)
        sizes = [len(sock.recv(2048)) for _ in range(200)]
        with pytest.raises(BlockingIOError):
            sock.recv(2048)
    assert "200 sent" in told and "answers were not waited for" in told
    assert sizes == [100] * 200
