"""`echowire ping`: options to `echowire.ping`, its answers and its report to a terminal or to JSON, an exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import echowire
from echowire import UsageError
from echowire.cli.common import (
    DURATION,
    PORT,
    RATE,
    SIZE,
    Environment,
    family_of,
    pass_environment,
    refuse_two_forms,
    refused,
)
from echowire.cli.endpoint_options import family_options
from echowire.cli.group_options import group_of_targets, group_options
from echowire.cli.ping_habits import LIST_COUNT, check_habits, habit_options, habits_of, is_list
from echowire.cli.ping_report import Report

ASK_ABOVE = 1024
"""Targets above which it asks first."""

FILE_MAX_BYTES = 16 * 1024 * 1024
"""Of a file of targets: a hundred bytes for each target that a run may have, and more."""


@click.command("ping")
@click.argument("targets", nargs=-1, metavar="TARGET...")
@family_options
@click.option("-T", "--tcp", is_flag=True, help="TCP connect; a refusal is an answer too: the host is up.")
@click.option("-u", "--udp", is_flag=True, help="UDP echo (RFC 862).")
@click.option("--stamp", is_flag=True, help="STAMP (RFC 8762): loss and delay each way.")
@click.option("-P", "--port", type=PORT, help="The port. [default: 443 for -T, 7 for -u, 862 for --stamp]")
@click.option("--path", is_flag=True, help="Show the path: who answers at each hop, all hops at a time.")
@click.option("--hops", type=click.IntRange(1, 64), default=30, show_default=True, help="Hops that --path looks at.")
@click.option(
    "--flows",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Flows of --path: 1 keeps to one path, more show equal-cost branches.",
)
@click.option("--mtu", is_flag=True, help="Find the largest packet that the path takes, through black holes too.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="Targets, one a line; - is standard input.")
@click.option("-c", "--count", type=click.IntRange(min=1), help="Probes to each. [default: until Ctrl-C; a range: 1]")
@click.option("-i", "--interval", type=DURATION, help="From one probe of a target to the next. [default: 1s]")
@click.option("-W", "--wait", type=DURATION, help="Wait so long for a reply. [default: 1s; --mtu: 500ms]")
@click.option("-w", "--deadline", type=DURATION, help="End after this time, whatever has come.")
@click.option("--rate", type=RATE, help="Probes a second to all together, at most. [default: 1000, or what -i asks]")
@click.option("-s", "--size", type=SIZE, help="Bytes of data; with --stamp, of the whole packet. [default: 56]")
@click.option("-t", "--ttl", type=click.IntRange(1, 255), help="Time to live.")
@click.option("-Q", "--tos", type=click.IntRange(0, 255), help="The TOS byte.")
@click.option(
    "-M", "--fragments", type=click.Choice(["dont", "want", "do", "probe"]), help="Path MTU discovery, as in ping."
)
@click.option("-I", "--source", default="", metavar="ADDRESS", help="An address, or an interface, of this host.")
@click.option("--key", metavar="FILE", help="The key of STAMP's authenticated mode.")
@group_options(with_ttl=False)
@click.option("-q", "--quiet", is_flag=True, help="Only the summary.")
@click.option("-D", "--timestamps", is_flag=True, help="Say when each answer came, in seconds since 1970.")
@click.option("-n", "--numeric", is_flag=True, help="Print no names for addresses; it is the default.")
@habit_options
@click.option("--live/--no-live", default=None, help="A table, redrawn. [default: with several targets, on a terminal]")
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {ASK_ABOVE:,} targets.")
@click.option(
    "--fail-if", multiple=True, metavar="CONDITION", help="Exit 1 if it holds: loss>1%, 'p99>50ms or loss>1%'."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
@click.option("--jsonl", is_flag=True, help="Print each answer, and the summary, as a line of JSON.")
@refused("--trace", "--traceroute", why="the way of packets is found by --path")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Ask TARGET whether it is there, how far, and how steadily; and tell who says no.

    TARGET is a name, an address, or a range such as 10.0.0.0/24; with -T, -u and --stamp also host:port. Round trips
    are from the kernel's stamps of sending and receiving where it gives them. Ctrl-C ends it with the summary,
    Ctrl-\\ tells how it stands and goes on.

    \b
    echowire ping example.org                     until Ctrl-C
    echowire ping -c 3 -i 200ms 192.0.2.1 2001:db8::1
    echowire ping 10.0.0.0/24                     one probe to each address
    echowire ping -T -P 443 example.org           where ICMP is filtered
    echowire ping --stamp -c 100 -i 10ms host     each way by itself; host runs: echowire serve --service stamp
    echowire ping --path host                     the path, as mtr has it; also -T -P 443 or -u; --flows 8
    echowire ping --mtu host                      how large a packet may be
    echowire ping --alive 10.0.0.0/24             only the addresses that answer; --unreachable: the others
    echowire ping --flood -c 1000 host            as fast as the answers come; -A with a pause
    echowire ping --jsonl host | jq .word
    echowire ping -q -c 100 -i 10ms host --fail-if 'loss>1% or p99>50ms'

    Every answer has a word: reply, refused, filtered, unreachable (net, host, port, protocol), too big,
    ttl exceeded, no reply, no route, name unknown; and whose it is. Exit status: 0 every target answered, 1 one did
    not or a condition holds, 2 one could not be asked.

    Conditions of --fail-if, true of any target: p50 to p100, min, mean, max, stddev, jitter, difference, forward,
    backward; loss; sent, received, lost, corrupted, late, duplicated, reordered, lost_forward, lost_backward.
    """
    return run(env, options)


def run(env: Environment, options: dict[str, Any]) -> int:
    """Ping, and print; the exit status."""
    refuse_two_forms(options, "an answer")
    check_habits(options)
    targets = [*options["targets"], *(target for name in options["files"] for target in _read(env, name))]
    if (group := group_of_targets(targets, options)) is not None:
        from echowire.cli import groups

        return groups.ping(env, options, group)
    number = echowire.count_targets(targets)
    if number > ASK_ABOVE and not options["yes"]:
        _confirm(env, number)
    count = options["count"]
    if count is None and is_list(options):
        count = LIST_COUNT
    if count is None and (echowire.has_range(targets) or options["as_json"]):
        count = 1
    if options["path"] or options["mtu"]:
        return _follow_path(env, options, targets)
    if options["tcp"]:
        echowire.raise_open_file_limit()  # a socket for each probe in flight
    report = Report(env, options, number)
    with report:
        pinged = echowire.ping(
            *targets,
            probe=_probe(options),
            port=options["port"],
            count=count,
            interval_s=1.0 if options["interval"] is None else options["interval"],
            wait_s=1.0 if options["wait"] is None else options["wait"],
            deadline_s=options["deadline"],
            rate=options["rate"],
            size=options["size"],
            family=family_of(options),
            source=options["source"],
            ttl=options["ttl"],
            tos=options["tos"],
            fragments=options["fragments"],
            stamp_key=options["key"],
            **habits_of(options),
            most_targets=max(number, 1),
            fail_if=options["fail_if"],
            on_begin=report.begin,
            on_answer=report.answer,
            on_idle=report.idle,
        )
    report.conclude(pinged)
    return pinged.exit_status


def _follow_path(env: Environment, options: dict[str, Any], targets: list[str]) -> int:
    if options["path"] and options["mtu"]:
        raise UsageError("--path is the way, --mtu its width; give one of them")
    if len(targets) != 1:
        raise UsageError(f"--path and --mtu take one target; {len(targets)} were given")
    if options["fail_if"]:
        raise UsageError("--fail-if is about targets, not paths")
    from echowire.cli.path_report import run_mtu, run_path

    return (run_path if options["path"] else run_mtu)(env, options, targets[0], _probe(options))


def _probe(options: dict[str, Any]) -> Any:
    chosen = [name for name in ("tcp", "udp", "stamp") if options[name]]
    if len(chosen) > 1:
        raise UsageError("-T, -u and --stamp are different probes; give one of them")
    return chosen[0] if chosen else "icmp"


def _read(env: Environment, name: str) -> list[str]:
    try:
        if name == "-":
            data = env.stdin.read(FILE_MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(
            f"-f {name}: no such file (errno {error.errno}); -f reads targets from a file, as in fping; --flood floods"
        ) from error
    except OSError as error:
        raise UsageError(f"-f {name}: {(error.strerror or str(error)).lower()} (errno {error.errno})") from error
    if len(data) > FILE_MAX_BYTES:
        raise UsageError(f"-f {name}: a file of targets has at most {FILE_MAX_BYTES // 1024 // 1024} MiB")
    try:
        return echowire.read_target_file(data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"-f {name}: it is not text ({error.reason} at byte {error.start})") from error


def _confirm(env: Environment, number: int) -> None:
    """Ask before a scan. Raises `UsageError` where nobody can be asked, or says no."""
    if not env.is_terminal:
        raise UsageError(f"{number:,} targets are more than {ASK_ABOVE:,}; add --yes if they are what you mean")
    env.stderr.write(f"Ping {number:,} targets? [y/N] ")
    env.stderr.flush()
    if env.stdin.readline().strip().lower() not in (b"y", b"yes"):
        raise UsageError("nothing was sent")
