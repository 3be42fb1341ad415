"""The rules alone: what the tables cannot easily be made to say, and what must hold of every explanation.

Each row is provoked for real in tests/test_failures.py.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire.core.failures.explain import NAME_ROWS, ROWS, SELF_CONNECTED, TRUNCATED, explain, is_self_connected
from echowire.core.failures.facts import HostFacts, IcmpReport, Process, SocketEntry
from echowire.errors import NameResolutionError, OperationError
from echowire.model import Endpoint

LOCAL = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "127.0.0.1/32", "192.0.2.2/32", "::1/128"))
HERE = Endpoint("tcp", "192.0.2.2", 8080)
THERE = Endpoint("tcp", "203.0.113.1", 8080)


def error(name: str, number: int, endpoint: object = HERE) -> OperationError:
    return OperationError(name, str(endpoint), number, os.strerror(number))


def entry(host: str, state: str = "LISTEN", *, port: int = 8080, **values: Any) -> SocketEntry:
    return SocketEntry(**{"local": Endpoint("tcp", host, port), "peer": None, "state": state, "inode": 1} | values)


def meaning(name: str, number: int, target: Endpoint, **facts: Any) -> str:
    return explain(error(name, number, target), target, HostFacts(**facts))[0]


# --- what must hold of all --------------------------------------------------------------------------------------

hosts = st.sampled_from(
    ["", "localhost", "host.example", "127.0.0.1", "0.0.0.0", "192.0.2.2", "203.0.113.1", "::", "::1"]
)
endpoints = st.one_of(
    st.builds(Endpoint, st.sampled_from(["tcp", "tls", "udp"]), hosts | st.just("fe80::1%lo"), st.integers(0, 65535)),
    st.builds(Endpoint, st.sampled_from(["unix", "unixgram"]), path=st.sampled_from(["/s", "@s", "x" * 200])),
)
entries = st.builds(
    SocketEntry,
    local=endpoints,
    peer=st.none() | endpoints,
    state=st.sampled_from(["LISTEN", "ESTAB", "TIME-WAIT", "UNCONN", "FIN-WAIT-2", "CLOSE-WAIT"]),
    inode=st.integers(0, 2),
    uid=st.none() | st.integers(0, 1000),
    receive_queue=st.integers(0, 5000),
    holder=st.none() | st.just(Process(7, "nginx")),
)
numbers = st.none() | st.sampled_from([0, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL])
pairs = st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9))
facts = st.builds(
    HostFacts,
    sockets=st.none() | st.lists(entries, max_size=3).map(tuple),
    sees_all_processes=st.none() | st.booleans(),
    local_addresses=st.sampled_from([None, LOCAL]),
    ipv6_disabled=st.sampled_from([None, "", "net.ipv6.conf.all.disable_ipv6"]),
    ephemeral_ports=pairs,
    connections=st.none() | st.integers(0, 30000),
    unprivileged_port_start=st.sampled_from([None, 0, 1024]),
    ping_group_range=pairs,
    route_number=numbers,
    path_mtu=st.sampled_from([None, 1500, 65536]),
    next_hop=st.sampled_from([None, "192.0.2.1", "203.0.113.1"]),
    next_hop_answers=st.none() | st.booleans(),
    conntrack=pairs,
    file_kind=st.sampled_from([None, "socket", "directory", "file", "missing", "no directory"]),
    file_limit=st.sampled_from([None, 1024]),
    nameservers=st.sampled_from([None, (), ("192.0.2.53",)]),
    nameserver_route_number=numbers,
    icmp=st.none()
    | st.builds(
        IcmpReport,
        st.integers(0, 13),
        st.integers(0, 16),
        st.sampled_from(["", "192.0.2.2", "203.0.113.1", "fd00::1"]),
        st.sampled_from([4, 6]),
        st.sampled_from([None, 1300]),
    ),
)
operations = st.sampled_from(["bind", "listen", "connect", "accept", "send", "recv", "socket", "setsockopt"])


def assert_well_said(said: tuple[str, str]) -> None:
    first, second = said
    assert bool(first) == bool(second), "a meaning without a remedy, or the reverse"
    for sentence in said:
        if sentence:
            assert sentence.endswith(".")
            assert not sentence.endswith("..")
            assert "None" not in sentence
            assert "\n" not in sentence
    if second:
        assert second.split()[0] in VERBS, second


VERBS = {
    *("Add", "Allow", "Ask", "Bind", "Call", "Change", "Check", "Choose", "Find", "Have", "Leave", "Look", "Make"),
    *("Mend", "Name", "Raise", "Receive", "Remove", "Reuse", "Run", "See", "Send", "Set", "Start", "Stop", "Take"),
    *("Try", "Use", "Wait", "Widen", "Write"),
}
"""A remedy begins with one, so that it can follow the meaning in the same sentence."""


@given(st.sampled_from(sorted({n for row in ROWS for n in row.numbers})), operations, endpoints | st.none(), facts)
def test_whatever_the_facts_an_explanation_is_two_sentences_or_none(
    number: int, name: str, target: Endpoint | None, found: HostFacts
) -> None:
    assert_well_said(explain(error(name, number, target), target, found))


@given(st.sampled_from([-2, -3, -4, -5, -9, None]), facts)
def test_so_is_that_of_a_name(number: int | None, found: HostFacts) -> None:
    assert_well_said(explain(NameResolutionError("host.example", "resolve host.example", number), None, found))


def test_what_has_no_error_number_is_well_said() -> None:
    assert_well_said(SELF_CONNECTED)
    assert_well_said(TRUNCATED)


def test_the_rows_that_can_be_told_are_all_there() -> None:
    there = {number for row in (*ROWS, *NAME_ROWS) for number in row.failures}
    without_a_number = {4, 39}
    assert {*range(1, 17), 21, 25, 27, 28, 29, 31, 37, 39, 41, 46, 48} <= there | without_a_number


def test_without_facts_little_is_said() -> None:
    assert explain(error("bind", errno.EADDRINUSE), HERE, HostFacts()) == ("", "")
    assert explain(error("bind", errno.EACCES), HERE, HostFacts()) == ("", "")
    assert explain(error("bind", errno.ENODEV), None, HostFacts()) == ("", "")


# --- what the tables cannot easily be made to say ---------------------------------------------------------------


def test_a_listener_on_another_address_does_not_have_the_port() -> None:
    said = meaning(
        "bind", errno.EADDRINUSE, HERE, sockets=(entry("127.0.0.1"), entry("192.0.2.2", holder=Process(9, "b")))
    )
    assert said == "b (pid 9) listens on 192.0.2.2:8080."
    assert "bound it without listening" in meaning("bind", errno.EADDRINUSE, HERE, sockets=(entry("127.0.0.1"),))


def test_the_surest_clash_is_named_first() -> None:
    sockets = (entry("::", holder=Process(1, "six")), entry("0.0.0.0", holder=Process(2, "four")))
    assert meaning("bind", errno.EADDRINUSE, HERE, sockets=sockets) == "four (pid 2) listens on 0.0.0.0:8080."
    assert meaning("bind", errno.EADDRINUSE, HERE, sockets=sockets[:1]) == "six (pid 1) listens on [::]:8080."


def test_a_holder_outside_of_what_root_sees() -> None:
    said = meaning("bind", errno.EADDRINUSE, HERE, sockets=(entry("0.0.0.0"),), sees_all_processes=True)
    assert said == "The kernel, or a process outside this PID namespace, listens on 0.0.0.0:8080."


def test_a_closed_connection_that_its_peer_keeps_half_open() -> None:
    half = entry("192.0.2.2", "FIN-WAIT-2", inode=0, peer=Endpoint("tcp", "203.0.113.9", 5))
    said = meaning("bind", errno.EADDRINUSE, HERE, sockets=(half,))
    assert said == "Nothing listens, but a closed connection to 203.0.113.9:5 still has the port, in FIN-WAIT-2."


def test_any_port_and_none_is_free() -> None:
    said = meaning("bind", errno.EADDRINUSE, Endpoint("tcp", "127.0.0.1"), sockets=(), ephemeral_ports=(40000, 40001))
    assert said == "Every port of net.ipv4.ip_local_port_range (40000 to 40001) is taken."


def test_a_refusal_by_a_remote_host_is_not_laid_to_this_hosts_processes() -> None:
    assert "No process of this host" in meaning("connect", errno.ECONNREFUSED, HERE, local_addresses=LOCAL, sockets=())
    said = meaning("connect", errno.ECONNREFUSED, THERE, local_addresses=LOCAL, sockets=())
    assert said.startswith("203.0.113.1 answered with a reset: nothing listens on port 8080 there, or")
    assert "No process" not in meaning("connect", errno.ECONNREFUSED, HERE, local_addresses=None, sockets=())


def test_a_listener_that_is_there_now() -> None:
    said = meaning("connect", errno.ECONNREFUSED, HERE, local_addresses=LOCAL, sockets=(entry("0.0.0.0"),))
    assert "listens on 0.0.0.0:8080 now: it has begun since, or" in said


def test_a_call_to_every_address_is_one_to_loopback() -> None:
    any_address = Endpoint("tcp", "0.0.0.0", 8080)
    found: dict[str, Any] = {"local_addresses": LOCAL, "sockets": (entry("192.0.2.2"),)}
    assert "listens on 192.0.2.2:8080 only, not on" in meaning("connect", errno.ECONNREFUSED, any_address, **found)


def test_a_full_connection_tracking_table() -> None:
    said = meaning("send", errno.EPERM, Endpoint("udp", "203.0.113.1", 9), conntrack=(262144, 262144))
    assert said == "This host's connection tracking is full (262,144 of 262,144), so it drops the packet."
    assert "firewall rule" in meaning("send", errno.EPERM, Endpoint("udp", "203.0.113.1", 9), conntrack=(3, 262144))


def test_an_answer_from_afar_outweighs_the_neighbour_table() -> None:
    found: dict[str, Any] = {"local_addresses": LOCAL, "next_hop": "192.0.2.1", "next_hop_answers": False}
    said = meaning("connect", errno.EHOSTUNREACH, THERE, **found, icmp=IcmpReport(3, 13, "198.51.100.1"))
    assert said.startswith("198.51.100.1 says administratively prohibited (ICMP 3/13)")
    assert meaning("connect", errno.EHOSTUNREACH, THERE, **found).startswith(
        "The gateway 192.0.2.1 does not answer ARP"
    )


def test_a_packet_too_big() -> None:
    said = meaning(
        "send", errno.EMSGSIZE, Endpoint("udp", "203.0.113.1", 9), icmp=IcmpReport(3, 4, "10.0.0.1", 4, 1300)
    )
    assert said == "10.0.0.1 says fragmentation needed (ICMP 3/4): packets of more than 1,300 bytes do not pass it."


def test_an_ipv6_call_without_a_source_is_not_laid_to_used_up_ports() -> None:
    found: dict[str, Any] = {"ephemeral_ports": (32768, 60999), "connections": 0}
    assert meaning("connect", errno.EADDRNOTAVAIL, Endpoint("tcp", "2001:db8::1", 80), **found) == ""


@pytest.mark.parametrize(("number", "said"), [(errno.ENOENT, "no such congestion"), (errno.EPERM, "privileged alone")])
def test_a_congestion_control_that_cannot_be_had(number: int, said: str) -> None:
    assert said in meaning("set congestion control 'nonsense' on", number, THERE)
    assert not meaning("set DSCP on", number, THERE)


def test_the_system_wide_limit_of_files() -> None:
    said = meaning("accept", errno.ENFILE, HERE, file_limit=2466170)
    assert said == "This system has all 2,466,170 files that it may open (fs.file-max)."


@pytest.mark.parametrize(
    ("number", "said"), [(-2, "No source of names"), (-5, "no address of this family"), (-3, "No usable")]
)
def test_names(number: int, said: str) -> None:
    found = HostFacts(nameservers=("192.0.2.53",), nameserver_route_number=0)
    assert said in explain(NameResolutionError("x", "resolve x", number), None, found)[0]


def test_self_connection() -> None:
    assert is_self_connected(("::1", 5, 0, 0), ("::1", 5, 0, 0))
    assert not is_self_connected(("127.0.0.1", 5), ("127.0.0.1", 6))
    assert not is_self_connected("", ""), "a Unix socket without a name"
