"""What people type at ss, typed at `echowire sockets`: the same rows, or one line that says what to use instead.

The real `ss -H` and ours look at the same live sockets, in a namespace in which nothing moves. A row of ours may say
more than ss's, never less: each word of ss's row is in ours. What changes between two looks (`lastsnd`, timers, …) is
compared by its name alone.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from echowire import SocketInquiry, sockets
from echowire.cli.environment import Environment
from echowire.cli.main import run
from tests.busy_host import BusyHost, busy_host

FLAGS = """
    (none)   -a   -n   -r -tl   -t   -ta   -tl   -tan   -tln   -u   -ua   -ul   -x   -xa   -xl   -w   -wa   -wl
    -0   -0a   -M   -Ma   -Ml   -Mai   -4   -4a   -6a   -tl4   -tl6   -tuwx   -tax   -tanO
    -tanp   -tano   -tane   -tanm   -tani   -tanoemiO   -xam   -xaep
    -tan --tos   -tan --cgroup   -tan --inet-sockopt   --vsock   -a --vsock
    -f inet -a   -f inet6 -a   -f unix -a   -f link -a   -f netlink -a   -f vsock -a
    -A all -a   -A inet -a   -A tcp,udp -a   -A mptcp -a   -A raw -a   -A packet -a   -A netlink -a   -A all,!udp -a
    -A unix_dgram -a   -A unix_stream -a   -A unix_seqpacket -a   -A unix_dgram,unix_seqpacket -a   -A vsock_stream -a
    --tcp --all --numeric   --udp --listening   --unix --all   --query=tcp --all   --socket tcp --all
    --family=inet6 -a
"""
"""Options that both answer alike, three blanks between them."""

FILTERS = """
    -tuan | sport 4001           sport = 4001       sport = :4001      sport eq :4001     sport == :4001
    -tuan | sport != :4001       sport ne 4001      sport neq 4001     sport > 4003       sport gt :4003
    -tuan | sport < 4003         sport lt :4003     sport >= 4003      sport ge 4003      sport geq 4003
    -tuan | sport <= 4003        sport le 4003      sport leq 4003     dport :4009        dport = 4009
    -tuan | dport != :4009       dport gt 4009      sport = :ssh       dport = :discard   sport = inet:4001
    -tuan | sport = inet::4001   sport = inet6::4004
    -tuan | src 10.9.0.1         src = 10.9.0.1     src eq 10.9.0.1    src 10.9.0.1:4001  src 10.9.0.0/24
    -tuan | src 10.9/16          src 10/8           src 10.9.0.1/32:4001   src *:4001     src :4001    src *
    -tuan | src [fd09::1]        src [fd09::1]:4004 src fd09::/16      src [::1]          src [::ffff:10.9.0.1]
    -tuan | src inet:10.9.0.1    src inet6:[fd09::1]:4004    src localhost   src 127.0.0.1   src 0.0.0.0   src [::]
    -tuan | dst 10.9.0.2         dst = 10.9.0.2     dst 10.9.0.2:4010  dst :4010          dst 10.9.0.0/24 dport = 4010
    -tuan | dst 10.9.0.0/24 and dport = 4010        dst 10.9.0.0/24 & dport = 4010   dst 10.9.0.0/24 && dport = 4010
    -tuan | sport = 4001 or sport = 4002            sport = 4001 | sport = 4002      sport = 4001 || sport = 4002
    -tuan | not sport = 4001     ! sport = 4001     not ( sport = 4001 or sport = 4002 )
    -tuan | ( sport = 4001 or sport = 4002 ) and src 10.9.0.1
    -tuan | sport = :4001 or ( dport = :4009 and not dst 10.9.0.9 )
    -tuan | dev lo               dev = lo           dev == lo          dev != lo          dev 1
    -tuan | fwmark 42            fwmark = 0x2a      fwmark = 0x2/0x3   fwmark != 0x2a     fwmark 0           autobound
    -tn   | state established    state ESTABLISHED  state syn-sent     state syn-recv     state fin-wait-1
    -tn   | state fin-wait-2     state time-wait    state closed       state close-wait   state last-ack
    -tn   | state listening      state closing      state all          state connected    state synchronized
    -tn   | state bucket         state big          state unconnected  exclude established   excl established
    -tn   | state connected exclude established     state established state close-wait   state established dst 10.9.0.2
    -tan  | exclude listening dst 10.9.0.2
    -n    | state established    state listening
    -un   | state unconnected    state established
    -xn   | state established    state listening
    -xa   | src unix:*stream*    src *stream*       src unix:@echowire*   src = unix:*seqpacket   dst unix:*   autobound
    -f unix -a | src *stream     src *STREAM        src *-[ds]*        src *strea?
    -a    | src unix:*stream     src link:*         src link:arp       src netlink:*      src netlink:rtnl
    -a    | src vsock:*          src vsock:2:*
    -0a   | src link:*:lo        src link:*:1       src link:arp:*     src arp
    -f netlink -a | src rtnl     src rtnl:kernel    src :0
    -Man  | sport = 3990         dport = 3990       src 10.9.0.1
    -4an  | src 10.9.0.1:4001
    -6an  | src [fd09::1]
    -f inet -an | src 10.9.0.1
"""
"""Options, and filters that both answer alike, three blanks (or more) between them."""

REFUSED = {
    "-S": "ss -S does",
    "-S -a": "ss -S does",
    "-d": "DCCP is gone from Linux 6.16 on",
    "-tanT": "-p names it",
    "-tab": "ss -b shows it",
    "-0ab": "ss -b shows it",
    "-tanZ": "ps -Z",
    "-tanz": "ss -z",
    "-D /tmp/raw": "--json has all that is in them",
    "--diag=/tmp/raw": "--json has all that is in them",
    "--tipc": "ss --tipc does",
    "--tipcinfo": "ss --tipc does",
    "--xdp": "ss --xdp does",
    "-A sctp": "ss -S does",
    "-A dccp": "DCCP is gone",
    "-A tipc": "ss --tipc does",
    "-A xdp": "ss --xdp does",
    "-A !tcp": "name some first",
    "-f xdp": "ss --xdp does",
    "-f help": "one of inet, inet6, unix, link, netlink, vsock",
    "-V": "echowire --version",
    "-tan sport": "here must be",
    "-tan sport = 99999": "'99999' is not a port",
    "-tan src nosuchhost.invalid": "is not an address",
    "-tan bogus": "nothing is called 'bogus'",
    "-tan ( sport = 4001": "not closed",
    "-tan state bogus": "no state is called 'bogus'",
    "-tan dev nosuchdev": "no interface is called 'nosuchdev'",
    "-tan cgroup /nosuch": "no control group is called '/nosuch'",
    "-tan fwmark = x": "'x' is not a mark",
    "-xa dst unix:*stream": "compare src, or peer_inode = NUMBER",
    "-0a dst link:ip": "a packet socket has no peer",
    "-0a src link:carrier-pigeon": "is no protocol of packets",
    "-a src netlink:carrier-pigeon": "is no protocol of netlink",
    "-a src vsock:host": "a host of vsock is CID:PORT",
}
"""What ss takes, or refuses too, and this command refuses: and what its one line says."""

FURTHER = {
    "-tuan src != 10.9.0.1": "ss has no != for hosts",
    "-tuan src fd09::1": "ss takes the last word of an IPv6 address without brackets for a port",
    "-tuan src [fd09::]/16": "ss wants the prefix without brackets",
    "-tuan (sport = 4001)": "ss wants blanks around parentheses",
    "-tuan sport=4001": "ss wants blanks around operators",
    "-tn state estab": "ss does not know the names that it prints",
    "-tan dst 10.9.0.2 state established": "ss takes states at the beginning alone",
    "-tan dst 10.9.0.2 and state = established": "ss has no columns in filters",
    "-tan sport = 4002 and not state listening": "ss takes states at the beginning alone",
    "-ta src *stream or sport = 4001": "ss wants -x for a path",
}
"""What ss refuses and this command answers, and why ss does not."""

DIFFERENT = {
    "-A packet_raw -a": ("ss lists packet sockets of both kinds, whichever is named", 1),
    "-A packet_dgram -a": ("ss lists packet sockets of both kinds, whichever is named", 1),
    "-tln46": ("to ss the last of -4 and -6 counts; here both do", 11),
    "-tuan sport = 4001 or sport = 4002 and src 127.0.0.1": ("`and` binds more than `or`, as in ss(8), not in ss", 1),
    "-tuan not autobound": ("to ss what was accepted is neither autobound nor not", 19),
}
"""What both answer, and not alike: why, and how many rows there are here."""

VOLATILE = re.compile(
    r"\b(lastsnd|lastrcv|lastack|timer|rto|backoff|busy|rcvmss|ato|rtt|minrtt|retrans|unacked|lost|bytes_retrans|bytes_sent"
    r"|segs_out|data_segs_out|delivery_rate|pacing_rate|send|skmem|cwnd|ssthresh|notsent|rcv_ssthresh|snd_wnd)[: ]\S+"
)
BEYOND_SS = re.compile(r"^udpl |10\.9\.0\.1:3903 ")
"""Rows that this command has besides: UDP-Lite, and what is bound and neither listens nor is connected."""
PROCESS_OF_NETLINK = re.compile(r"(tcpdiag:)\S+/\d+|tcpdiag:\d{2,}|\d+:\d{3,} \*$")
"""Who asks is itself a netlink socket."""


@pytest.fixture(scope="module")
def busy() -> Iterator[BusyHost]:
    for tool in ("ss", "nsenter"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    with busy_host() as host:
        yield host


def cases(table: str) -> list[str]:
    found: list[str] = []
    for line in filter(None, map(str.strip, table.splitlines())):
        options, _, rest = line.partition(" | ") if table is FILTERS else ("", "", line)
        found += [f"{options.strip()} {one}".strip() for one in re.split(r"\s{3,}", rest.strip())]
    return [one.removeprefix("(none)") for one in found]


def words_of(line: str) -> list[str]:
    return shlex.split(line, posix=False)


def ours(busy: BusyHost, line: str) -> tuple[int, str, str]:
    out, err = io.BytesIO(), io.StringIO()
    with busy.host.inside():
        status = run(["sockets", "-H", "--no-marks", *words_of(line)], Environment(io.BytesIO(), out, err, {}))
    return status, out.getvalue().decode(), err.getvalue()


def by_ss(busy: BusyHost, line: str) -> tuple[int, str]:
    # Only the network is the other: `ip netns exec` would hide control groups from ss.
    command = ["nsenter", f"--net=/run/netns/{busy.host.name}", "ss", "-H", *words_of(line)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout


def rows(text: str) -> list[list[str]]:
    """Each row's words, without what passes, and without what only this command says of processes."""
    text = re.sub(r",user=[^()]*?(?=\))", "", text.replace("\n\t", " "))
    kept = [VOLATILE.sub(lambda found: found[1], line) for line in text.splitlines()]
    return [line.split() for line in sorted(kept) if not PROCESS_OF_NETLINK.search(line)]


Difference = tuple[list[str], list[str]]


def difference(busy: BusyHost, line: str) -> Difference:
    """Rows of ss that are not here, and rows here that are not ss's."""
    status, wanted = by_ss(busy, line)
    mine, found, said = ours(busy, line)
    assert (mine, status) == (0, 0), said
    rest = rows(found)
    missing = []
    for row in rows(wanted):
        same = next((one for one in rest if one[:4] == row[:4] and set(row) <= set(one)), None)
        if same is None:
            missing.append(" ".join(row))
        else:
            rest.remove(same)
    return missing, [" ".join(row) for row in rest if not BEYOND_SS.search(" ".join(row) + " ")]


def assert_alike(busy: BusyHost, line: str) -> None:
    # A segment that is lost is sent again now and then, and may be between the two looks.
    found: Difference | None = next(
        (one for one in (difference(busy, line) for _ in range(3)) if one == ([], [])), None
    )
    assert found == ([], []), difference(busy, line)


@pytest.mark.parametrize("line", cases(FLAGS))
def test_flags_are_answered_alike(busy: BusyHost, line: str) -> None:
    assert_alike(busy, line)


@pytest.mark.parametrize("line", cases(FILTERS))
def test_filters_are_answered_alike(busy: BusyHost, line: str) -> None:
    assert_alike(busy, line)


def test_there_are_as_many_as_promised() -> None:
    assert len(set(cases(FLAGS))) >= 50 and len(set(cases(FILTERS))) >= 85


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused_is_refused_with_a_reason(busy: BusyHost, line: str) -> None:
    status, out, said = ours(busy, line)
    first, *rest = said.splitlines()
    assert (status, out) == (2, "") and REFUSED[line] in first
    assert len(rest) in (0, 2), "one line, or a filter and its caret"


@pytest.mark.parametrize("line", FURTHER)
def test_what_ss_refuses_and_this_answers(busy: BusyHost, line: str) -> None:
    assert by_ss(busy, line)[0] != 0
    status, out, said = ours(busy, line)
    assert (status, said) == (0, "") and rows(out)


@pytest.mark.parametrize("line", DIFFERENT)
def test_what_differs_is_known(busy: BusyHost, line: str) -> None:
    why, count = DIFFERENT[line]
    found = [row for row in rows(ours(busy, line)[1]) if not BEYOND_SS.search(" ".join(row) + " ")]
    assert len(found) == count, why
    assert len(rows(by_ss(busy, line)[1])) != count, "ss answers alike now: say so"


def test_what_waits_to_be_accepted_is_no_orphan(busy: BusyHost) -> None:
    with busy.host.inside():
        unheld = [row["state"] for row in sockets("src 10.9.0.1:4006 state established", kinds=["tcp"])]
        assert unheld == ["ESTAB"] * 2 and SocketInquiry(kinds=["tcp"]).summary().orphans == 0
        ours, theirs = busy.pair("orphan")
        with theirs:
            busy.lose_from(ours)
            ours.close()
            assert SocketInquiry(kinds=["tcp"]).summary().orphans == 1
