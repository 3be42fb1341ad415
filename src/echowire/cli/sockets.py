"""`echowire sockets`: its options, as click reads them."""

from __future__ import annotations

from typing import Any

import click

from echowire import parse_duration
from echowire.cli.common import Environment, Quantity, pass_environment, refused
from echowire.cli.sockets_report import UNKNOWN, run
from echowire.cli.sockets_switches import SWITCHES, key_of

GROUPS = ("process", "state", "peer", "port", "cgroup", "user", "kind")


REFUSED = {
    ("-S", "--sctp"): UNKNOWN["sctp"],
    ("-d", "--dccp"): UNKNOWN["dccp"],
    ("--tipc",): UNKNOWN["tipc"],
    ("--tipcinfo",): UNKNOWN["tipc"],
    ("--xdp",): UNKNOWN["xdp"],
    ("-T", "--threads"): "threads share the sockets of their process; -p names it, and ps -T its threads",
    ("-b", "--bpf"): "the code of a socket's filter is not shown here; ss -b shows it",
    ("-Z", "--context"): "security contexts are not shown here; ss -Z, or ps -Z, shows them",
    ("-z", "--contexts"): "security contexts are not shown here; ss -z shows them",
    ("-V",): "the version is that of the whole: echowire --version",
}
"""ss's flags that this command has not, and what to use instead."""

NO_DIAG = "raw messages are not written here; --json has all that is in them, and ss -D writes them"


def _refused(function: Any) -> Any:
    for names, why in REFUSED.items():
        function = refused(*names, why=f"{names[0]}: {why}")(function)

    def refuse(context: click.Context, _: click.Parameter, given: str | None) -> None:
        if given is not None:
            raise click.UsageError(f"-D: {NO_DIAG}", context)

    return click.option("-D", "--diag", hidden=True, expose_value=False, callback=refuse)(function)


def _switches(function: Any) -> Any:
    for name, (letter, text) in reversed(SWITCHES.items()):
        names = [f"-{letter}"] if letter else []
        function = click.option(*names, f"--{name}", key_of(name), is_flag=True, help=text)(function)
    return function


@click.command("sockets")
@click.argument("filter", nargs=-1, metavar="[FILTER]...")
@_switches
@_refused
@click.option("-f", "--family", metavar="FAMILY", help="inet, inet6, unix, link, netlink or vsock, as in ss.")
@click.option("-F", "--filter", "filter_file", metavar="FILE", help="Read the filter from a file, or - for stdin.")
@click.option(
    "-A", "--query", "--socket", "query", metavar="KINDS", help="Kinds of sockets, with commas: tcp,udp,unix."
)
@click.option("-N", "--net", metavar="NAMESPACE", help="Another network namespace, by its name or a process's number.")
@click.option("--by", type=click.Choice(GROUPS), help="Group, and count.")
@click.option(
    "--watch",
    type=Quantity("duration", parse_duration),
    is_flag=False,
    flag_value="1s",
    help="A live table, looked at so often: what opened, changed its state, closed.  [default: 1s]",
)
@click.option("-c", "--count", type=click.IntRange(min=1), help="With --watch and --events: so many, then end.")
@click.option("--group-limit", type=click.IntRange(min=1), help="With --by: so many groups.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Show the sockets of this host: what ss, netstat and lsof say together.

    FILTER is ss's, with any column added: state, src, dst, sport, dport, dev, fwmark, cgroup, autobound; pid, comm,
    user, unit; and each member of TCP_INFO without its prefix, as rtt, retrans, cwnd, bytes_sent, delivery_rate.
    Times are written 100ms, sizes 64K, rates 10M (bits a second); text may hold *.

    \b
    echowire sockets -tlnp                              who listens on TCP, and what is wrong with it
    echowire sockets -tnp dport = :443                  who talks to port 443
    echowire sockets -tin 'rtt > 100ms and retrans > 0' which connections suffer
    echowire sockets -tanp comm = 'python*' or user = www-data
    echowire sockets --by process state close-wait      who leaks sockets
    echowire sockets -s                                 how many there are of each
    echowire sockets --watch -tn dst 10.0.0.0/8         live, with rates
    echowire sockets --events --jsonl                   each connection's end, with its counters
    echowire sockets -K --yes state fin-wait-2          close them
    echowire sockets --groups                           who has joined which multicast group (netstat -g, ip maddr)
    echowire sockets --counters                         what the kernel counted since the last look (netstat -s, nstat)
    echowire sockets --interfaces --watch               bytes, packets, errors, drops a second (netstat -i, ip -s link)
    echowire sockets --routes                           (netstat -r, ip route)
    echowire sockets --json -t | jq '.sockets[].tcpi_rtt'

    A listener that only this host can reach, that serves one family, whose queue is full, or that shares its port with
    a full one is marked by an exclamation mark; --json says why. Exit status: 0, also where no socket is found; 2 for
    a wrong filter, or a refusal of the system.
    """
    return run(env, options)
