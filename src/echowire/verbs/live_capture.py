"""Packets as they come by, as a stream: `LiveCapture` opens the interfaces, and each block of packets goes through it
once: it gets the processes whose the packets are, goes to the file, which comes before all else, and then to whoever
looks at it.
"""

from __future__ import annotations

import errno
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypedDict, Unpack

from echowire.core.captures.in_place import Notes, Pieces, pcap_pieces, pcapng_pieces, statistics_block
from echowire.core.captures.limits import CaptureCounters, CaptureLimits, Rotation
from echowire.core.captures.numbers import MAX_PACKET_BYTES
from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import Interface, Option, Records, Section
from echowire.core.packets.beforehand import load_all
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.dissect import Dissector
from echowire.errors import OperationError
from echowire.kernel import privileges
from echowire.kernel.captures.output import CaptureOutput
from echowire.kernel.captures.ring import PacketRing
from echowire.kernel.captures.ring_socket import RETIRE_MS, RING_BYTES
from echowire.kernel.captures.session import Batch, PacketSession
from echowire.verbs.capture_start import CaptureStart
from echowire.verbs.packet_owners import PacketOwners

if TYPE_CHECKING:
    from echowire.core.filters.packet_filter import PacketFilter

REHEARSED = bytes.fromhex(
    "000000000001 000000000002 0800"  # Ethernet
    "4500002d 00014000 40067cc8 7f000001 7f000001"  # IPv4 on loopback
    "c0000050 00000001 00000001 50180200 91d80000"  # TCP to port 80
    "474554202f"  # GET /
)
"""The packet of `LiveCapture.rehearsal`."""

FileKind = Literal["pcapng", "pcap"]

BUSY = 0.25
"""A ring as full as this: from here on, what only shows packets passes some over, so that none is lost to the file."""


class CapturingOptions(TypedDict, total=False):
    """The fields of `Capturing`, as keywords."""

    filter: str
    snap_len: int
    promiscuous: bool
    buffer_bytes: int
    limits: CaptureLimits | None
    retire_ms: int
    processes: bool
    give_up_root: bool
    rehearse: Callable[[], object] | None
    application: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capturing:
    """How packets are captured, on whatever interface."""

    filter: str = ""
    """A capture filter (pcap-filter(7)): the word of tcpdump and of everybody."""
    snap_len: int = MAX_PACKET_BYTES
    """Bytes of each packet that are kept."""
    promiscuous: bool = True
    buffer_bytes: int = RING_BYTES
    """Of the ring of each interface."""
    limits: CaptureLimits | None = None
    """When it ends by itself."""
    retire_ms: int = RETIRE_MS
    """After which a block of packets is handed over, full or not."""
    processes: bool = False
    """Find whose each packet is, for files and for the fields `proc.pid` and their like."""
    give_up_root: bool = False
    """Once all is open, be the user who called sudo, if somebody did."""
    rehearse: Callable[[], object] | None = None
    """Called before root is given up: it is to load what will be needed, as this program's own files may then be out of
    reach."""
    application: str = "Echowire"
    """What files say that they were made by."""


class LiveCapture:
    """Packets of some interfaces as they come. Used as a context manager, and consumed once, by `run` or `chunks`.

    Raises `OperationError`, with what to do about it, where an interface cannot be opened, and `UsageError` for a
    capture filter that is wrong.
    """

    def __init__(
        self,
        interfaces: Sequence[str] | CaptureStart,
        *,
        capturing: Capturing | None = None,
        **options: Unpack[CapturingOptions],
    ) -> None:
        """How it is captured is said by keyword, each a field of `Capturing`, or by a `capturing` of which the keywords
        change some: `filter`, `snap_len`, `limits`, `processes` and the others.

        Of a capture that was started, which this takes over, all is in effect already that its `CaptureStart` was told.
        """
        asked = replace(capturing or Capturing(), **options)
        self.limits = asked.limits or CaptureLimits()
        self.captured = 0
        """Packets so far."""
        self.skipped = 0
        """Packets that were not decoded, since they came too fast."""
        self.on_tick: Callable[[], None] | None = None
        """Called several times a second, whether something comes or not."""
        self.on_notice: Callable[[OperationError], None] | None = None
        """Told of an interface that went down; it may come up again."""
        self._sink: _Sink | None = None
        self._owners = PacketOwners() if asked.processes else None  # first, so that nothing comes before it
        try:
            self._started = interfaces if isinstance(interfaces, CaptureStart) else _started(interfaces, asked)
            self._session = PacketSession(self._started.rings)
        except BaseException:
            if self._owners:
                self._owners.close()
            raise
        self._session.on_notice = self._notice
        self.interfaces = tuple(_described(ring, self._started.filter) for ring in self._session.rings)
        self.sections = (_section(asked.application),)
        try:
            if asked.give_up_root and (uid := privileges.sudo_user()) is not None:
                load_all()
                if asked.rehearse:
                    asked.rehearse()
                privileges.become(uid)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def rehearsal(*names: str, display_filter: str = "") -> Chosen:
        """A packet that never was, decoded as those of `chunks` are: all that this needs is loaded then."""
        packet_filter = _compiled(display_filter)
        chosen = Chosen(Dissector(names or None).dissect(Records.of([REHEARSED], [0])))
        if packet_filter:
            packet_filter.mask(Dissector(packet_filter.fields).dissect(Records.of([REHEARSED], [0])))
        return chosen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it, with what was written whole."""
        if self._sink:
            self._sink.close()
        self._session.close()
        self._started.close()
        if self._owners:
            self._owners.close()

    def stop(self) -> None:
        """Have it end in order, with all packets that came before. For any thread and any signal handler."""
        self._session.stop()

    @property
    def names(self) -> tuple[str, ...]:
        """The interfaces'."""
        return tuple(ring.name for ring in self._session.rings)

    @property
    def problem(self) -> OperationError | None:
        """Why it ended by itself, if not by a limit."""
        return self._session.problem

    def counters(self) -> CaptureCounters:
        """What came of the packets so far."""
        each = self._session.counters()
        return CaptureCounters(
            captured=self.captured,
            received=sum(one.received for one in each),
            dropped=sum(one.dropped for one in each),
            interface_dropped=sum(one.interface_dropped for one in each),
        )

    def write_to(self, path: str, *, kind: FileKind = "pcapng", rotation: Rotation | None = None) -> None:
        """Write all packets to a file, `-` being standard output, or to files in turn. Called before they come."""
        self._started.check_kind(kind)
        try:
            self._sink = _Sink(self, path, kind, rotation)
        except OperationError as error:
            if error.number == errno.ENXIO:
                error.meaning = "It ended before anybody read the pipe"
            raise

    @property
    def owners(self) -> tuple[int, int] | None:
        """Packets whose process is known, and those of TCP and UDP whose is not; None where it is not looked for."""
        return (self._owners.table.attributed, self._owners.table.unknown) if self._owners else None

    @property
    def owners_problem(self) -> OperationError | None:
        """Why processes of sockets that live for milliseconds are missed; None where they are not."""
        return self._owners.problem if self._owners else None

    @property
    def files(self) -> int:
        """Files begun so far."""
        return self._sink.output.files if self._sink else 0

    def run(self) -> None:
        """Take packets until it ends."""
        for _ in self.progress():
            pass

    def progress(self) -> Iterator[int]:
        """Take packets until it ends; their number, each time that some came."""
        for _ in self._batches():
            yield self.captured

    def records(self, *, may_skip: bool = False) -> Iterator[Records]:
        """All packets until it ends, block by block. With `may_skip`, blocks are passed over, and counted in `skipped`,
        while they come faster than they are taken.
        """
        for batch, pieces, first in self._batches(with_options=True):
            if may_skip and self._session.backlog > BUSY:
                self.skipped += len(batch.frames)
                continue
            options, tail = (pieces.option_size, pieces.tail) if pieces else (None, b"")
            yield batch.frames.records(
                batch.interface, self.interfaces, self.sections, first, option_size=options, tail=tail
            )

    def chunks(self, *names: str, display_filter: str = "", may_skip: bool = False) -> Iterator[Chosen]:
        """The packets as they come that pass, to be asked for the fields `names`; without names, for all."""
        packet_filter = _compiled(display_filter)
        dissector = Dissector([*names, *packet_filter.fields] if packet_filter and names else names or None)
        for records in self.records(may_skip=may_skip):
            chosen = Chosen(dissector.dissect(records))
            yield chosen if packet_filter is None else chosen.only(packet_filter.mask(chosen.packets))

    def _batches(self, *, with_options: bool = False) -> Iterator[tuple[Batch, Pieces | None, int]]:
        """The packets as they come, written; with the number of each batch's first, and with what was put behind them
        if they are written as pcapng, or have options that are asked for.
        """
        limits = self.limits
        until = None if limits.duration_s is None else time.monotonic() + limits.duration_s
        stream = self._session.batches(until)
        try:
            for batch in stream:
                if batch is None:
                    self._tick()
                    continue
                taken = self._within_limit(batch)
                first = self.captured + 1
                self.captured += len(taken.frames)
                yield taken, self._handled(taken, first, with_options=with_options), first
                if self._is_over():
                    break
        finally:
            stream.close()
            if self._sink:
                self._sink.close()

    def _handled(self, batch: Batch, first: int, *, with_options: bool) -> Pieces | None:
        """Give the packets their processes and write them."""
        notes, pieces = None, None
        if self._owners and (with_options or (self._sink and self._sink.has_options)):
            notes = self._owners.notes(batch.frames, self.interfaces[batch.interface].link_type)
        if self._sink:
            pieces, written = self._sink.write(batch, notes)
            self.captured = first - 1 + written
        if with_options and (pieces is None or not (self._sink and self._sink.has_options)):
            pieces = pcapng_pieces(batch.frames, batch.interface, with_flags=False, notes=notes)
        return pieces

    def _tick(self) -> None:
        if self._owners:
            self._owners.learn()
        if self._sink:
            self._sink.output.turn(time.time_ns())
        if self.on_tick:
            self.on_tick()

    def _notice(self, error: OperationError) -> None:
        if self.on_notice:
            self.on_notice(error)

    def _within_limit(self, batch: Batch) -> Batch:
        limit = self.limits.packets
        if limit is None or self.captured + len(batch.frames) <= limit:
            return batch
        return batch._replace(frames=batch.frames.only(slice(limit - self.captured)))

    def _is_over(self) -> bool:
        limits, output = self.limits, self._sink.output if self._sink else None
        if limits.packets is not None and self.captured >= limits.packets:
            return True
        if output is None:
            return False
        return output.is_full or (limits.file_bytes is not None and output.written >= limits.file_bytes)

    def _statistics(self, now_ns: int) -> bytes:
        """The statistics blocks of all interfaces."""
        blocks = [
            statistics_block(index, now_ns, self._started.time_ns, one)
            for index, one in enumerate(self._session.counters())
        ]
        return b"".join(blocks)


class _Sink:
    """Where the packets of a live capture are written, and in which form."""

    def __init__(self, live: LiveCapture, path: str, kind: FileKind, rotation: Rotation | None) -> None:
        self._kind = kind
        self._with_flags = [not ring.is_loopback for ring in live._session.rings]
        described = Records.of([], [], interfaces=live.interfaces, sections=live.sections)

        def begin() -> bytes:
            return bytes((PcapngWriter() if kind == "pcapng" else PcapWriter(nanoseconds=True)).write(described))

        def end(now_ns: int) -> bytes:
            return live._statistics(now_ns) if kind == "pcapng" else b""

        self.output = CaptureOutput(
            path,
            begin,
            end,
            rotation=rotation,
            last_file=live.limits.files,
            is_stopping=lambda: live._session.is_stopping,
            now_ns=time.time_ns(),
            descriptor=live._started.take_file(path),
        )
        self._open = True

    @property
    def has_options(self) -> bool:
        """Whether what is known of a packet can be written."""
        return self._kind == "pcapng"

    def write(self, batch: Batch, notes: Notes | None) -> tuple[Pieces, int]:
        """Write the packets, which destroys what the ring holds beside them: the pieces, and how many still belonged
        into the files.
        """
        frames = batch.frames
        if self._kind == "pcap":
            pieces = pcap_pieces(frames)
        else:
            pieces = pcapng_pieces(frames, batch.interface, with_flags=self._with_flags[batch.interface], notes=notes)
        try:
            return pieces, self.output.write(pieces, frames.time_ns)
        except BaseException:
            self._open = False
            self.output.abandon()
            raise

    def close(self) -> None:
        """End the file; once."""
        if self._open:
            self._open = False
            self.output.finish(time.time_ns())


def _started(interfaces: Sequence[str], asked: Capturing) -> CaptureStart:
    return CaptureStart(
        interfaces,
        filter=asked.filter,
        snap_len=asked.snap_len,
        promiscuous=asked.promiscuous,
        buffer_bytes=asked.buffer_bytes,
        retire_ms=asked.retire_ms,
        processes=asked.processes,
    )


def _section(application: str) -> Section:
    system = f"{platform.system()} {platform.release()}"
    said = ((2, platform.processor() or platform.machine()), (3, system), (4, application))
    return Section(is_pcapng=True, options=tuple(Option(code, text.encode()) for code, text in said if text))


def _described(ring: PacketRing, capture_filter: str) -> Interface:
    options = [Option(2, ring.name.encode())]  # if_name
    if capture_filter:
        options.append(Option(11, b"\0" + capture_filter.encode()))  # if_filter, as text
    options.append(Option(12, f"{platform.system()} {platform.release()}".encode()))  # if_os
    return Interface(ring.link_type, ring.snap_len, 9, options=tuple(options))


def _compiled(display_filter: str) -> PacketFilter | None:
    if not display_filter:
        return None
    from echowire.core.filters.packet_filter import PacketFilter  # which only they need who filter
    from echowire.core.filters.parse import parse_filter

    return PacketFilter(parse_filter(display_filter))
