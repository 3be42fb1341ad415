"""`echowire read`: options to `echowire.read`, its answers to standard output, and an exit status."""

from __future__ import annotations

from typing import Any, Literal

import click

import echowire
from echowire import LineFormat, UsageError
from echowire.cli import read_exports, read_reports
from echowire.cli.common import Environment, pass_environment, printable
from echowire.cli.heap import keep_what_is_freed
from echowire.cli.read_progress import conclude, progress
from echowire.cli.read_view import TIMES, view
from echowire.cli.signals import ended_by_signals
from echowire.cli.write_behind import WriteBehind

NAMED_CHARACTERS = {"/t": "\t", "/s": " ", "\\t": "\t", "\\s": " "}
"""How tshark spells a tab and a space; the backslash is what one types by habit."""

DEFRAGMENT = ("ip.defragment", "ipv6.defragment")
"""Preferences that tshark has for each; here both are of IPv4 and IPv6."""

OCCURRENCES: dict[str, Literal["first", "last", "all"]] = {"f": "first", "l": "last", "a": "all"}
QUOTES = {"d": '"', "s": "'", "n": ""}


@click.command("read")
@click.argument("file", required=False)
@click.option("-r", "--read-file", "read_file", metavar="FILE", help="The same as the argument, as tshark has it.")
@click.option("-Y", "--filter", "display_filter", metavar="FILTER", help="Only packets that pass: tcp.port == 443.")
@click.option(
    "-T", "form", type=click.Choice(["text", "fields", "json", "ek"]), default="text", help="What to print of a packet."
)
@click.option("-e", "--field", "fields", multiple=True, metavar="FIELD", help="A field to print; may be repeated.")
@click.option("-E", "settings", multiple=True, metavar="NAME=VALUE", help="How -T fields prints; see below.")
@click.option("-c", "--count", type=click.IntRange(min=1), help="Read so many packets of the file at most.")
@click.option("-V", "details", is_flag=True, help="Show each packet's details as a tree.")
@click.option("-x", "hexadecimal", is_flag=True, help="Show each packet's bytes.")
@click.option("--packet", type=click.IntRange(min=1), metavar="N", help="Show packet N: line, details, bytes.")
@click.option("-t", "times", type=click.Choice(TIMES), default="r", help="What times the list shows; see below.")
@click.option("-w", "--write", metavar="FILE", help="Write the packets to a .pcap or .pcapng file, also .gz .zst .lz4.")
@click.option("--export", metavar="FILE", help="Write the fields of -e to a .parquet, .csv or .arrow file.")
@click.option("--export-objects", metavar="http,DIR", help="Write the bodies of HTTP messages to files.")
@click.option("--export-streams", metavar="DIR", help="Write what each end of each TCP and UDP stream said to files.")
@click.option("-z", "reports", multiple=True, metavar="REPORT", help="A report of all packets; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the reports, or what was exported, as JSON.")
@click.option("-o", "preferences", multiple=True, metavar="NAME:VALUE", help="ip.defragment:TRUE joins IP fragments.")
@click.option("-n", "numeric", is_flag=True, help="As in tshark; names are never looked up here.")
@click.option("-q", "--quiet", is_flag=True, help="Print no packets.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Read the packets of FILE, a pcap or pcapng capture, also compressed (gzip, zstd, lz4); - is standard input.

    \b
    echowire read a.pcap                                          the list of packets; in colours on a terminal
    echowire read a.pcap --packet 42                              one packet in full, with the bytes of each field
    echowire read a.pcap -T fields -e ip.src -e tcp.dstport       columns, tab-separated
    echowire read a.pcap -Y 'ip.addr == 10.0.0.0/8 && tcp.flags.syn == 1' -T fields -e frame.number
    echowire read a.pcap -Y 'udp.port in {53, 5353}' -w dns.pcapng
    echowire read a.pcap --export a.parquet -e frame.time -e ip.src -e ip.dst -e frame.len

    \b
    echowire read a.pcap --export-objects http,files/             as tshark; names, sizes and types with --json
    echowire read a.pcap --export-streams files/                  as tcpflow: tcp-0000-HOST.PORT-HOST.PORT.client.bin

    \b
    echowire read a.pcap -T json                                  all of each packet, as tshark has it; -T ek in lines

    FILTER is Wireshark's display filter language (wireshark-filter(4)); `echowire fields` lists the fields.

    Reports of -z, of all packets whatever -Y lets pass, as in tshark, which gives each its own FILTER; several in one
    pass. With --json they are one document.

    \b
    conv,KIND[,FILTER]  endpoints,KIND[,FILTER]    KIND is eth, ip, ipv6, tcp, udp or sctp
    io,stat,SECONDS[,FILTER]...                    a column each; also COUNT|SUM|MIN|MAX|AVG(FIELD)FILTER
    follow,tcp|udp,ascii|hex|raw|yaml,STREAM       what both ends said; STREAM is a tcp.stream or udp.stream
    expert[,error|warn|note|chat][,FILTER]         what is remarkable
    flow,any|tcp|udp|icmp|icmpv6[,network]         who sent what to whom
    verdict[,STREAM]                               where the time of a TCP conversation went, and why
    ladder[,STREAM[,svg]]                          its segments as arrows, with socket calls and states
    sequence[,STREAM]  rtt[,STREAM]                sequence numbers, and round trips, over time, as SVG

    -o ip.defragment:TRUE joins IP fragments, of IPv4 and IPv6: what a datagram carries is shown where its last fragment
    came. Without it, unlike tshark, what the first fragment has is shown there. -z and exports always join them.

    Settings of -E, as in tshark: header=y, separator=, (/t a tab, /s a space, or any text), occurrence=f|l|a (the
    first, the last or all values of a field that a packet has several of; the first, where tshark prints all),
    aggregator=, between several values, quote=d|s|n, escape=y|n, bom=y|n. -T json and -T ek give all values.

    Times of -t: r since the first packet, d since the one before, dd since the one shown before, e since 1970, a and ad
    of this host's clock without and with the date, u and ud in UTC.

    Exit status: 0; 1 if the file is cut or damaged (what came before is given) or an export is not whole; 2 for wrong
    usage.
    """
    keep_what_is_freed()
    return run(env, options)


def run(env: Environment, options: dict[str, Any]) -> int:
    """Read, and print or write; the exit status."""
    _check(options)
    capture = echowire.read(_path(options), defragment=_defragments(options["preferences"]))
    if options["display_filter"]:
        capture = capture.filter(options["display_filter"])
    if options["count"]:
        capture = capture.head(options["count"])
    form = line_format(options["settings"], is_terminal=env.stdout.isatty())
    with ended_by_signals():
        if options["write"]:
            return _written(env, capture, options)
        if options["export"]:
            return _exported(env, capture, options, form)
        if options["export_objects"] or options["export_streams"]:
            return read_exports.run(env, capture, options)
    if options["reports"]:
        return read_reports.run(env, capture, options, form)
    if options["form"] == "text":
        return view(env, capture, options)
    whole = not options["fields"]
    fields = echowire.ViewForm(tree=True).fields if whole else options["fields"]
    with capture.chunks(*fields) as reading, progress(env, reading), WriteBehind(env) as output:
        bulk = options["form"] == "ek"
        blocks = reading.lines(form) if options["form"] == "fields" else reading.json(bulk=bulk, tree=whole)
        for block in blocks:
            if not options["quiet"]:
                output.write(block)
    return conclude(env, reading)


def _check(options: dict[str, Any]) -> None:
    """Raise `UsageError` for options that contradict each other."""
    written = [one for one in ("write", "export", "export_objects", "export_streams") if options[one]]
    if len(written) > 1:
        raise UsageError(
            "-w, --export, --export-objects and --export-streams each read for themselves; give one of them"
        )
    if written[:1] in (["export_objects"], ["export_streams"]) and (options["reports"] or options["form"] != "text"):
        raise UsageError("--export-objects and --export-streams print no packets and no reports; leave out -T and -z")
    if options["fields"] and options["form"] == "text" and not options["export"]:
        raise UsageError("-e names fields of -T fields, -T json, -T ek or --export; give one of them")
    if not options["fields"] and (options["form"] == "fields" or (options["form"] != "text" and options["reports"])):
        raise UsageError(f"-T {options['form']} needs fields: -e ip.src -e tcp.dstport")
    if options["form"] != "text" and (options["details"] or options["hexadecimal"] or options["packet"]):
        raise UsageError("-V, -x and --packet show packets as text; leave out -T")
    if options["settings"] and options["form"] != "fields" and not options["export"]:
        raise UsageError("-E says how -T fields prints")


def _defragments(preferences: tuple[str, ...]) -> bool:
    """What the preferences of -o say of fragments; the last one holds."""
    found = False
    for one in preferences:
        name, _, value = one.partition(":")
        if name not in DEFRAGMENT or value.strip().upper() not in ("TRUE", "FALSE"):
            raise UsageError(f"-o {one}: there is {' and '.join(DEFRAGMENT)}, TRUE or FALSE")
        found = value.strip().upper() == "TRUE"
    return found


def _path(options: dict[str, Any]) -> str:
    given = [one for one in (options["file"], options["read_file"]) if one]
    if len(given) != 1:
        raise UsageError("one capture file is read; name it, or give - for standard input")
    return str(given[0])


def _written(env: Environment, capture: echowire.Capture, options: dict[str, Any]) -> int:
    with capture.chunks() as reading, progress(env, reading):
        count = reading.write(options["write"])
    if not options["quiet"]:
        env.say(f"{count} packets written to {printable(options['write'])}")
    return conclude(env, reading)


def _exported(env: Environment, capture: echowire.Capture, options: dict[str, Any], form: LineFormat) -> int:
    fields = options["fields"] or echowire.default_columns()
    with capture.chunks(*fields) as reading, progress(env, reading):
        count = reading.export(options["export"], occurrences=form.occurrence)
    if not options["quiet"]:
        env.say(f"{count} packets exported to {printable(options['export'])}")
    return conclude(env, reading)


def line_format(settings: tuple[str, ...], *, is_terminal: bool) -> LineFormat:
    """What the settings of -E say; a terminal is given escaped text whatever they say. Raises `UsageError`."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in ("separator", "aggregator") and value:
            found[name] = NAMED_CHARACTERS.get(value, value)
        elif name in ("header", "escape", "bom") and value in ("y", "n"):
            found[name] = value == "y"
        elif name == "occurrence" and value in OCCURRENCES:
            found[name] = OCCURRENCES[value]
        elif name == "quote" and value in QUOTES:
            found[name] = QUOTES[value]
        else:
            raise UsageError(
                f"-E {setting}: one of header=y|n, separator=TEXT, occurrence=f|l|a, aggregator=TEXT, quote=d|s|n, "
                "escape=y|n, bom=y|n"
            )
    return LineFormat(**found | ({"escape": True} if is_terminal else {}))
