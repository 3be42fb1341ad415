"""`echowire capture`: options to a `LiveCapture`, packets to files, a terminal or lines, and an exit status."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

import echowire
from echowire import CaptureLimits, LiveCapture, Rotation, UsageError, parse_duration
from echowire.cli.capture_report import (
    JsonLines,
    LiveList,
    PlainFields,
    PlainList,
    Report,
    interface_lines,
    interfaces_document,
    rehearse,
    summary,
)
from echowire.cli.common import Environment, pass_environment, printable
from echowire.cli.live_ladder import GrowingLadder, pins_tcp_port
from echowire.cli.read import line_format
from echowire.cli.signals import heard

KILO = 1000
"""-a and -b filesize: count in these, as dumpcap's do."""
MIB = 1 << 20
MAX_SNAP_LEN = 262_144

SHOWN_MS, WRITTEN_MS = 100, 250
"""How old packets are, at most, when they are shown or piped, and when they are only written to a file. What a block
of them costs is half a millisecond, however few they are: at 20,000 a second it may as well be full."""


@click.command("capture", context_settings={"ignore_unknown_options": False})
@click.argument("expression", nargs=-1)
@click.option("-D", "--list-interfaces", "list_them", is_flag=True, help="List the interfaces, and end.")
@click.option("--json", "as_json", is_flag=True, help="With -D: as one document.")
@click.option("-i", "--interface", "interfaces", multiple=True, metavar="NAME", help="May be repeated; any is all.")
@click.option("-f", "capture_filter", metavar="FILTER", help="Take only these (pcap-filter(7)): tcp port 443.")
@click.option("-s", "--snapshot-length", "snap_len", type=click.IntRange(0, MAX_SNAP_LEN), metavar="BYTES", default=0)
@click.option("-p", "--no-promiscuous-mode", "not_promiscuous", is_flag=True, help="Only what is for this host.")
@click.option(
    "-B",
    "--buffer-size",
    "buffer_mib",
    type=click.IntRange(2, 1024),
    default=64,
    metavar="MIB",
    help="Of the ring; 64.",
)
@click.option("-c", "--count", type=click.IntRange(min=1), help="End after so many packets.")
@click.option(
    "-a", "--autostop", multiple=True, metavar="WHAT:N", help="End at duration:, filesize:, packets:, files:."
)
@click.option(
    "-b", "--ring-buffer", multiple=True, metavar="WHAT:N", help="Next file at filesize:, duration:, packets:."
)
@click.option("-w", "--write", metavar="FILE", help="Write all packets; .pcap for pcap, else pcapng; - is stdout.")
@click.option("-F", "kind", type=click.Choice(["pcapng", "pcap"]), help="The format, whatever the name says.")
@click.option("-P", "--print", "also_print", is_flag=True, help="Print packets too when writing them.")
@click.option(
    "-Y", "--filter", "display_filter", metavar="FILTER", help="Print only packets that pass: dns.flags.rcode."
)
@click.option("-T", "form", type=click.Choice(["text", "fields"]), default="text", help="What to print of a packet.")
@click.option("-e", "--field", "fields", multiple=True, metavar="FIELD", help="A field to print; may be repeated.")
@click.option("-E", "settings", multiple=True, metavar="NAME=VALUE", help="How -T fields prints, as in read.")
@click.option("-t", "time_form", type=click.Choice(["r", "d", "dd", "e", "u", "ud", "a", "ad"]), default="r")
@click.option("--jsonl", is_flag=True, help="Print packets, drops and the summary as lines of JSON.")
@click.option("--processes/--no-processes", default=None, help="Say whose each packet is; see below.")
@click.option("--ladder/--no-ladder", default=None, help="Draw conversations, not the packet list; see below.")
@click.option("-n", "numeric", is_flag=True, help="As in tcpdump; names are never looked up here.")
@click.option("-q", "--quiet", is_flag=True, help="Print no packets.")
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Capture packets as they come by, with the kernel taking only those of the EXPRESSION or -f (pcap-filter(7)).

    \b
    echowire capture -D                                     the interfaces
    echowire capture -i eth0 -w a.pcapng                    to a file; Ctrl-C ends it
    echowire capture -i any                                 the packet list, live
    echowire capture -i lo tcp port 12345                   one TCP port: its conversations drawn as they happen
    echowire capture -i any -Y 'dns' -T fields -e dns.qry.name
    echowire capture -i eth0 -w a.pcapng -b filesize:100000 -b files:10   the last gigabyte
    echowire capture -i eth0 -w - | tshark -r -

    -b, as in dumpcap: filesize:KB, duration:TIME, packets:N begin the next file, files:N keeps the newest N. -a:
    duration:TIME, filesize:KB, packets:N, files:N end the capture. -Y and -c never change what a file gets of what
    was taken: -Y chooses what is printed. Printing gives way to writing: where packets come too fast for both, rows are
    passed over, and counted.

    On a terminal, a filter for one TCP port draws the conversation as it happens: an arrow a segment or a run of them,
    the socket calls and the states of both ends; --no-ladder shows the packet list, --ladder draws for any filter.

    Each packet of a socket of this host bears the processes of its ends, sender first: proc.pid, proc.name and proc.of
    (user, and unit or container), or of one end proc.srcpid, proc.dstname and so on, as fields of -e and -Y; in pcapng
    files as an option and a comment. A process that cannot be found is absent. Sockets that live for milliseconds are
    found as root only. It costs a quarter of a microsecond a packet, and a hundred bytes of the file: --no-processes.

    Exit status: 0; 2 where the system refuses, for wrong usage, or a disk that is full.
    """
    if options["as_json"] and not options["list_them"]:
        raise UsageError("--json is of -D; --jsonl prints packets as they come")
    if options["as_json"]:
        env.answer_json(interfaces_document(echowire.interfaces()))
        return 0
    if options["list_them"]:
        for line in interface_lines(echowire.interfaces()):
            env.answer(line)
        return 0
    return Capturing(env, options).run()


class Capturing:
    """One run of the command."""

    def __init__(self, env: Environment, options: dict[str, Any]) -> None:
        self._env = env
        self._options = options
        self._signals = 0
        self._check()

    def _check(self) -> None:
        """Raise `UsageError` for options that contradict each other."""
        options = self._options
        if options["expression"] and options["capture_filter"]:
            raise UsageError("give the capture filter once: with -f, or as last words")
        if options["form"] == "fields" and not options["fields"]:
            raise UsageError("-T fields needs fields: -e ip.src -e tcp.dstport")
        if options["fields"] and options["form"] != "fields" and not options["jsonl"]:
            raise UsageError("-e names fields of -T fields or --jsonl; give one of them")
        if options["ring_buffer"] and options["write"] in (None, "-"):
            raise UsageError("-b makes files in turn; name the first with -w FILE")
        if options["ladder"]:
            if options["jsonl"] or options["form"] == "fields" or options["display_filter"] or options["write"] == "-":
                raise UsageError("--ladder draws all segments on a terminal; leave out --jsonl, -T fields, -Y and -w -")
            if not self._env.has_colour:
                raise UsageError("--ladder needs a terminal; `echowire read FILE -q -z ladder,0` draws that of a file")
        if options["write"] == "-" and self._prints:
            raise UsageError("standard output has the packets already (-w -); print nothing more to it")

    @property
    def _prints(self) -> bool:
        options = self._options
        asked = options["also_print"] or options["fields"] or options["jsonl"] or options["display_filter"]
        return not options["quiet"] and bool(asked or not options["write"])

    @property
    def _is_shown(self) -> bool:
        """Whether packets are shown as they happen, on a terminal: as the list, or the ladder."""
        return self._env.has_colour and not self._options["quiet"] and self._options["write"] != "-"

    @property
    def _draws_ladder(self) -> bool:
        """If it was asked for, or one TCP port is looked at and nothing else was asked for."""
        options = self._options
        if not self._is_shown or options["ladder"] is False:
            return False
        other = options["jsonl"] or options["form"] == "fields" or options["display_filter"]
        return bool(options["ladder"] or (not other and pins_tcp_port(self._capture_filter)))

    @property
    def _only_writes(self) -> bool:
        return self._options["write"] not in (None, "-") and not self._prints and not self._is_shown

    @property
    def _capture_filter(self) -> str:
        return self._options["capture_filter"] or " ".join(self._options["expression"])

    @property
    def _wants_processes(self) -> bool:
        """Unless told otherwise, for all but a pcap file that nobody looks at, which has no room for it."""
        options = self._options
        asked: bool | None = options["processes"]
        if asked is None:
            return not (options["write"] and self._kind() == "pcap" and not self._prints and not self._is_shown)
        return asked

    def run(self) -> int:
        """Capture; the exit status."""
        env, options = self._env, self._options
        if options["display_filter"]:
            echowire.read("-").filter(options["display_filter"])  # whether it is one, before anything is opened
        with self._opened() as live, self._signals_caught(live):
            if options["write"]:
                live.write_to(options["write"], kind=self._kind(), rotation=self._rotation())
            report = self._report(live)
            gc.freeze()  # the sockets that there are may be tens of thousands, and are not to be looked through again
            on = printable(", ".join(live.names))
            env.say(f"Capturing on {on}" + (f" to {printable(options['write'])}" if options["write"] else ""))
            try:
                self._consume(live, report)
            finally:
                report.end()
            counters = live.counters()
            if options["jsonl"] and not options["quiet"]:
                env.answer_json({"event": "summary", **summary(live, counters)})
            else:
                self._say_summary(live, counters)
        if live.problem:
            raise live.problem
        return 0

    def _consume(self, live: LiveCapture, report: Report) -> None:
        env, options = self._env, self._options
        live.on_tick = report.tick
        live.on_notice = lambda error: env.say(f"echowire: {printable(str(error))}")
        if live.owners_problem and (options["processes"] or env.has_colour):
            why = printable(str(live.owners_problem))
            env.say(f"echowire: processes by /proc alone, which misses sockets of milliseconds: {why}")
        if not report.shows:
            live.run()
            return
        chunks = live.chunks(
            *(report.fields or options["fields"]),
            display_filter=options["display_filter"] or "",
            may_skip=bool(options["write"]) or report.may_skip,
        )
        for chosen in chunks:
            report.show(chosen)

    def _opened(self) -> LiveCapture:
        options = self._options
        listed = [one.name for one in echowire.interfaces()]
        asked = [name for one in options["interfaces"] or listed[:1] for name in one.split(",")]
        names = [_named(name, [*listed, "any"]) for name in asked]
        return LiveCapture(
            names,
            filter=self._capture_filter,
            snap_len=options["snap_len"] or MAX_SNAP_LEN,
            promiscuous=not options["not_promiscuous"],
            buffer_bytes=options["buffer_mib"] * MIB,
            limits=self._limits(),
            processes=self._wants_processes,
            retire_ms=WRITTEN_MS if self._only_writes else SHOWN_MS,
            give_up_root=True,
            rehearse=self._rehearse,
            application=f"Echowire {echowire.__version__}",
        )

    def _rehearse(self) -> None:
        """Load what showing packets needs, as long as this program's own files can be read for certain."""
        options = self._options
        if self._prints or self._is_shown:
            rehearse(
                options["fields"],
                display_filter=options["display_filter"] or "",
                on_terminal=self._is_shown,
            )

    def _report(self, live: LiveCapture) -> Report:
        env, options = self._env, self._options
        if options["jsonl"] and self._prints:
            return JsonLines(env, live, options["fields"])
        if options["form"] == "fields":
            return PlainFields(
                env, live, options["fields"], line_format(options["settings"], is_terminal=env.stdout.isatty())
            )
        if self._draws_ladder:
            return GrowingLadder(env, live)
        if self._is_shown:
            return LiveList(env, live, options["time_form"])
        if self._prints:
            return PlainList(env, live, options["time_form"])
        return Report(env, live)

    def _kind(self) -> Any:
        options = self._options
        return options["kind"] or ("pcap" if options["write"].lower().endswith((".pcap", ".cap")) else "pcapng")

    def _limits(self) -> CaptureLimits:
        said = _settings("-a", self._options["autostop"], ("duration", "filesize", "packets", "files"))
        counts = [one for one in (said.get("packets"), self._options["count"]) if one is not None]
        size = said.get("filesize")
        return CaptureLimits(
            packets=int(min(counts)) if counts else None,
            duration_s=said.get("duration"),
            file_bytes=None if size is None else int(size * KILO),
            files=None if "files" not in said else int(said["files"]),
        )

    def _rotation(self) -> Rotation:
        said = _settings("-b", self._options["ring_buffer"], ("duration", "filesize", "packets", "files"))
        size = said.get("filesize")
        return Rotation(
            file_bytes=None if size is None else int(size * KILO),
            duration_s=said.get("duration"),
            packets=None if "packets" not in said else int(said["packets"]),
            files=None if "files" not in said else int(said["files"]),
        )

    @contextmanager
    def _signals_caught(self, live: LiveCapture) -> Iterator[None]:
        """The first signal ends the capture in order, a second one at once."""

        def caught(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals > 1:
                raise KeyboardInterrupt
            live.stop()

        ending = heard((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        before = {number: signal.signal(number, caught) for number in ending}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _say_summary(self, live: LiveCapture, counters: echowire.CaptureCounters) -> None:
        said = [f"{counters.captured} packets captured"]
        if live.files > 1:
            said[0] += f" in {live.files} files"
        said.append(f"{counters.dropped} dropped by the ring")
        said.append(f"{counters.interface_dropped} dropped by the interface")
        if live.owners and sum(live.owners):
            said.append(f"{live.owners[1]} of unknown processes")
        if live.skipped:
            said.append(f"{live.skipped} not shown")
        self._env.say(", ".join(said))


def _named(name: str, listed: list[str]) -> str:
    """The interface of a name, or of a number that -D shows."""
    if name.isdigit() and name not in listed and 0 < int(name) <= len(listed):
        return listed[int(name) - 1]
    return name


def _settings(option: str, said: tuple[str, ...], known: tuple[str, ...]) -> dict[str, float]:
    """`WHAT:N` as numbers; durations may have units. Raises `UsageError`."""
    found: dict[str, float] = {}
    for setting in said:
        what, _, value = setting.partition(":")
        try:
            if what not in known:
                raise ValueError
            found[what] = parse_duration(value) if what == "duration" else int(value)
            if found[what] <= 0:
                raise ValueError
        except (ValueError, UsageError):
            raise UsageError(f"{option} {setting}: one of {', '.join(f'{one}:N' for one in known)}") from None
    return found
