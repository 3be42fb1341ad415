"""`echowire read`: options to `echowire.read`, its answers to standard output, and an exit status."""

from __future__ import annotations

from typing import Any, Literal

import click

import echowire
from echowire import LineFormat, UsageError
from echowire.cli.common import Environment, pass_environment, printable

NAMED_CHARACTERS = {"/t": "\t", "/s": " ", "\\t": "\t", "\\s": " "}
"""How tshark spells a tab and a space; the backslash is what one types by habit."""

OCCURRENCES: dict[str, Literal["first", "last", "all"]] = {"f": "first", "l": "last", "a": "all"}
QUOTES = {"d": '"', "s": "'", "n": ""}


@click.command("read")
@click.argument("file", required=False)
@click.option("-r", "--read-file", "read_file", metavar="FILE", help="The same as the argument, as tshark has it.")
@click.option("-Y", "--filter", "display_filter", metavar="FILTER", help="Only packets that pass: tcp.port == 443.")
@click.option("-T", "form", type=click.Choice(["text", "fields"]), default="text", help="What to print of a packet.")
@click.option("-e", "--field", "fields", multiple=True, metavar="FIELD", help="A field to print; may be repeated.")
@click.option("-E", "settings", multiple=True, metavar="NAME=VALUE", help="How -T fields prints; see below.")
@click.option("-c", "--count", type=click.IntRange(min=1), help="Read so many packets of the file at most.")
@click.option("-n", "numeric", is_flag=True, help="As in tshark; names are never looked up here.")
@click.option("-q", "--quiet", is_flag=True, help="Print no packets.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Read the packets of FILE, a pcap or pcapng capture, also compressed (gzip, zstd, lz4); - is standard input.

    \b
    echowire read a.pcap -T fields -e ip.src -e tcp.dstport     columns, tab-separated

    Settings of -E, as in tshark: header=y, separator=, (/t a tab, /s a space, or any text), occurrence=f|l|a (the
    first, the last or all values of a field that a packet has several of; the first, where tshark prints all),
    aggregator=, between several values, quote=d|s|n, escape=y|n, bom=y|n.

    Exit status: 0; 1 if the file is cut or damaged (what came before is given); 2 for wrong usage.
    """
    return run(env, options)


def run(env: Environment, options: dict[str, Any]) -> int:
    """Read, and print; the exit status."""
    capture = echowire.read(_path(options))
    if options["display_filter"]:
        capture = capture.filter(options["display_filter"])
    if options["count"]:
        capture = capture.head(options["count"])
    if options["form"] == "fields":
        return _fields(env, capture, options)
    raise UsageError("say what to print: -T fields -e FIELD")


def _path(options: dict[str, Any]) -> str:
    given = [one for one in (options["file"], options["read_file"]) if one]
    if len(given) != 1:
        raise UsageError("one capture file is read; name it, or give - for standard input")
    return str(given[0])


def _fields(env: Environment, capture: echowire.Capture, options: dict[str, Any]) -> int:
    if not options["fields"]:
        raise UsageError("-T fields needs fields: -e ip.src -e tcp.dstport")
    with capture.chunks(*options["fields"]) as reading:
        made = echowire.FieldLines(options["fields"], line_format(options["settings"]))
        env.write(made.begin())
        for chosen in reading:
            if not options["quiet"]:
                env.write(made.lines(chosen))
        env.flush()
        return conclude(env, reading)


def conclude(env: Environment, reading: echowire.Reading) -> int:
    """Say of a file that was not read to its end where and why; the exit status."""
    if reading.problem is None:
        return 0
    env.say(f"echowire: {printable(reading.name)}: {printable(str(reading.problem))}")
    return 1


def line_format(settings: tuple[str, ...]) -> LineFormat:
    """What the settings of -E say. Raises `UsageError`."""
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
    return LineFormat(**found)
