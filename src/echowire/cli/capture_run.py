"""One run of `echowire capture`: the interfaces opened at once, then the rest loaded, then packets to where they go.

All that is imported at the top of this file is at hand within milliseconds, since the word `Capturing` stands for
packets that are kept from then on, and people wait for it. What shows packets (numpy, polars, rich) is loaded while the
kernel keeps them.
"""

from __future__ import annotations

import gc
import os
import signal
from contextlib import contextmanager

import echowire
from echowire.cli.signals import heard
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from echowire import CaptureCounters, CaptureLimits, CaptureStart, LiveCapture, Rotation
    from echowire.cli.capture_report import Report
    from echowire.cli.environment import Environment

KILO = 1000
"""-a and -b filesize: count in these, as dumpcap's do."""
MIB = 1 << 20
MAX_SNAP_LEN = 262_144

SHOWN_MS, WRITTEN_MS = 100, 250
"""How old packets are, at most, when they are shown or piped, and when they are only written to a file. What a block
of them costs is half a millisecond, however few they are: at 20,000 a second it may as well be full."""

ENDS = ("duration", "filesize", "packets", "files")
"""What -a and -b may name."""


def run(env: Environment, options: dict[str, Any]) -> int:
    """What the command does, given its options; the exit status."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads for algebra, of which there is none
    if options["as_json"] and not options["list_them"]:
        raise UsageError("--json is of -D; --jsonl prints packets as they come")
    if options["list_them"]:
        from echowire.cli.interface_list import interface_lines, interfaces_document

        if options["as_json"]:
            env.answer_json(interfaces_document(echowire.interfaces()))
            return 0
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
        self._live: LiveCapture | None = None
        self._check()
        self._until = _settings("-a", options["autostop"])
        self._next_file = _settings("-b", options["ring_buffer"])

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
        return bool(options["ladder"] or (not other and self._pins_tcp_port()))

    def _pins_tcp_port(self) -> bool:
        from echowire.cli.live_ladder import pins_tcp_port

        return pins_tcp_port(self._capture_filter)

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
        options = self._options
        with self._signals_caught(), self._started() as started:
            is_said = self._can_be_said(started)
            if is_said:
                self._say_begun(started)
            make_report = self._report_maker()
            with self._live_of(started) as live:
                if options["write"]:
                    live.write_to(options["write"], kind=self._kind(), rotation=self._rotation())
                report = make_report(live)
                gc.freeze()  # the sockets that there are may be tens of thousands: not to be looked through again
                if not is_said:
                    self._say_begun(started)
                self._take(live, report)
        if live.problem:
            raise live.problem
        return 0

    def _started(self) -> CaptureStart:
        """The interfaces opened: what comes from now on is kept."""
        options = self._options
        return echowire.CaptureStart(
            self._names(),
            filter=self._capture_filter,
            snap_len=options["snap_len"] or MAX_SNAP_LEN,
            promiscuous=not options["not_promiscuous"],
            buffer_bytes=options["buffer_mib"] * MIB,
            retire_ms=WRITTEN_MS if self._only_writes else SHOWN_MS,
            processes=self._wants_processes,
        )

    def _names(self) -> list[str]:
        """The interfaces that were named, also by the numbers that -D shows; else the first of that list."""
        named = [name for names in self._options["interfaces"] for name in names.split(",")]
        if named and not any(name.isdigit() for name in named):
            return named
        listed = [interface.name for interface in echowire.interfaces()]
        return [_named(name, [*listed, "any"]) for name in named or listed[:1]]

    def _can_be_said(self, started: CaptureStart) -> bool:
        """Whether all that could still be refused has been tried, so that what is said will be true.

        Display filters and fields are looked up in the table of all protocols, which takes its time; files in turn have
        names that do; and a pipe may have no reader yet.
        """
        options = self._options
        if options["display_filter"]:
            echowire.read("-").filter(options["display_filter"])
        if options["fields"] or options["settings"] or self._next_file:
            return False
        if options["write"] in (None, "-"):
            return True
        return started.open_file(options["write"], self._kind())

    def _say_begun(self, started: CaptureStart) -> None:
        on, path = echowire.printable(", ".join(started.names)), self._options["write"]
        self._env.say(f"Capturing on {on}" + (f" to {echowire.printable(path)}" if path else ""))

    def _live_of(self, started: CaptureStart) -> LiveCapture:
        self._live = live = echowire.LiveCapture(
            started,
            limits=self._limits(),
            processes=self._wants_processes,
            give_up_root=True,
            rehearse=self._rehearse,
            application=f"Echowire {echowire.__version__}",
        )
        if self._signals:  # it was told to end while all this was loaded
            live.stop()
        return live

    def _take(self, live: LiveCapture, report: Report) -> None:
        """Take packets until it ends, and say what came of it."""
        env, options = self._env, self._options
        try:
            self._consume(live, report)
        finally:
            report.end()
        counters = live.counters()
        if options["jsonl"] and not options["quiet"]:
            from echowire.cli.capture_report import summary

            env.answer_json({"event": "summary", **summary(live, counters)})
        else:
            self._say_summary(live, counters)

    def _consume(self, live: LiveCapture, report: Report) -> None:
        env, options = self._env, self._options
        live.on_tick = report.tick
        live.on_notice = lambda error: env.say(f"echowire: {echowire.printable(str(error))}")
        if live.owners_problem and (options["processes"] or env.has_colour):
            why = echowire.printable(str(live.owners_problem))
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

    def _rehearse(self) -> None:
        """Load what showing packets needs, as long as this program's own files can be read for certain."""
        options = self._options
        if self._prints or self._is_shown:
            from echowire.cli.capture_report import rehearse

            rehearse(
                options["fields"],
                display_filter=options["display_filter"] or "",
                on_terminal=self._is_shown,
            )

    def _report_maker(self) -> Callable[[LiveCapture], Report]:
        """Makes what shows the packets. All that it takes is loaded now, as long as root may read it."""
        from echowire.cli.capture_report import JsonLines, LiveList, PlainFields, PlainList, Report

        env, options = self._env, self._options
        if options["jsonl"] and self._prints:
            return lambda live: JsonLines(env, live, options["fields"])
        if options["form"] == "fields":
            from echowire.cli.read import line_format

            form = line_format(options["settings"], is_terminal=env.stdout.isatty())
            return lambda live: PlainFields(env, live, options["fields"], form)
        if self._draws_ladder:
            from echowire.cli.live_ladder import GrowingLadder

            return lambda live: GrowingLadder(env, live)
        if self._is_shown:
            return lambda live: LiveList(env, live, options["time_form"])
        if self._prints:
            return lambda live: PlainList(env, live, options["time_form"])
        return lambda live: Report(env, live)

    def _kind(self) -> Any:
        options = self._options
        return options["kind"] or ("pcap" if options["write"].lower().endswith((".pcap", ".cap")) else "pcapng")

    def _limits(self) -> CaptureLimits:
        said = self._until
        counts = [one for one in (said.get("packets"), self._options["count"]) if one is not None]
        size = said.get("filesize")
        return echowire.CaptureLimits(
            packets=int(min(counts)) if counts else None,
            duration_s=said.get("duration"),
            file_bytes=None if size is None else int(size * KILO),
            files=None if "files" not in said else int(said["files"]),
        )

    def _rotation(self) -> Rotation:
        said = self._next_file
        size = said.get("filesize")
        return echowire.Rotation(
            file_bytes=None if size is None else int(size * KILO),
            duration_s=said.get("duration"),
            packets=None if "packets" not in said else int(said["packets"]),
            files=None if "files" not in said else int(said["files"]),
        )

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """The first signal ends the capture in order, a second one at once."""

        def caught(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals > 1:
                raise KeyboardInterrupt
            if self._live:
                self._live.stop()

        ending = heard((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        before = {number: signal.signal(number, caught) for number in ending}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _say_summary(self, live: LiveCapture, counters: CaptureCounters) -> None:
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


def _settings(option: str, said: tuple[str, ...]) -> dict[str, float]:
    """`WHAT:N` as numbers; durations may have units. Raises `UsageError`."""
    found: dict[str, float] = {}
    for setting in said:
        what, _, value = setting.partition(":")
        try:
            if what not in ENDS:
                raise ValueError
            found[what] = echowire.parse_duration(value) if what == "duration" else int(value)
            if found[what] <= 0:
                raise ValueError
        except (ValueError, UsageError):
            raise UsageError(f"{option} {setting}: one of {', '.join(f'{one}:N' for one in ENDS)}") from None
    return found
