"""The verb capture: packets as they come by, written, decoded, and asked as those of a file are.

`LiveCapture` is the stream: it opens the interfaces, and each block of packets goes through it once: to the file first,
which comes before all else, then to whoever looks at them. `capture` runs one in a thread and keeps what comes in
memory as a capture file, so that the growing table is asked exactly as `read` is.
"""

from __future__ import annotations

import errno
import os
import platform
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from echowire.errors import OperationError, UsageError
from echowire.kernel import privileges
from echowire.kernel.capture_output import CaptureOutput
from echowire.kernel.interfaces import list_interfaces
from echowire.kernel.libpcap import compile_filter
from echowire.kernel.packet_ring import RETIRE_MS, RING_BYTES, PacketRing, link_of
from echowire.kernel.packet_session import Batch, PacketSession
from echowire.model import CaptureCounters, CaptureLimits, NetworkInterface, Rotation
from echowire.verbs.read import Capture, Reading, read
from echowire.wire.chosen import Chosen
from echowire.wire.dissect import Dissector
from echowire.wire.field_lines import LineFormat
from echowire.wire.packets_in_place import pcap_pieces, pcapng_pieces, statistics_block
from echowire.wire.pcap import PcapWriter
from echowire.wire.pcapng_writer import PcapngWriter
from echowire.wire.records import MAX_PACKET_BYTES, Interface, Option, Records, Section

if TYPE_CHECKING:
    from echowire.analysis.packet_filter import PacketFilter

FileKind = Literal["pcapng", "pcap"]

BUSY = 0.25
"""A ring as full as this: from here on, what only shows packets passes some over, so that none is lost to the file."""


class LiveCapture:
    """Packets of some interfaces as they come. Used as a context manager, and consumed once, by `run` or `chunks`.

    Raises `OperationError`, with what to do about it, where an interface cannot be opened, and `UsageError` for a
    capture filter that is wrong.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        *,
        filter: str = "",  # noqa: A002 - the word of tcpdump and of everybody
        snap_len: int = MAX_PACKET_BYTES,
        promiscuous: bool = True,
        buffer_bytes: int = RING_BYTES,
        limits: CaptureLimits | None = None,
        retire_ms: int = RETIRE_MS,
        give_up_root: bool = False,
        application: str = "Echowire",
    ) -> None:
        """`give_up_root`: once all is open, be the user who called sudo, if somebody did. `application`: what files
        say that they were made by.
        """
        names = list(dict.fromkeys(interfaces))
        if not names:
            raise UsageError("name an interface to capture on; `echowire capture -D` lists them")
        self.limits = limits or CaptureLimits()
        self.captured = 0
        """Packets so far."""
        self.skipped = 0
        """Packets that were not decoded, since they came too fast."""
        self.on_tick: Callable[[], None] | None = None
        """Called several times a second, whether something comes or not."""
        self._sink: _Sink | None = None
        self._start_ns = time.time_ns()
        rings = [partial(_open_ring, name, filter, snap_len, promiscuous, buffer_bytes, retire_ms) for name in names]
        self._session = PacketSession(rings)
        self.interfaces = tuple(_described(ring, filter) for ring in self._session.rings)
        self.sections = (_section(application),)
        try:
            if give_up_root and (uid := privileges.sudo_user()) is not None:
                privileges.become(uid)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it, with what was written whole."""
        if self._sink:
            self._sink.close()
        self._session.close()

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
        if kind == "pcap" and len({one.link_type for one in self.interfaces}) > 1:
            raise UsageError("a pcap file has packets of one link type only; write a pcapng file")
        self._sink = _Sink(self, path, kind, rotation)

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

    def records(self) -> Iterator[Records]:
        """All packets until it ends, block by block."""
        for batch, first in self._batches():
            yield batch.frames.records(batch.interface, self.interfaces, self.sections, first)

    def chunks(self, *names: str, display_filter: str = "", may_skip: bool = False) -> Iterator[Chosen]:
        """The packets as they come that pass, to be asked for the fields `names`; without names, for all.

        With `may_skip`, blocks are passed over while they come faster than they are decoded.
        """
        packet_filter = _compiled(display_filter)
        dissector = Dissector([*names, *packet_filter.fields] if packet_filter and names else names or None)
        for batch, first in self._batches(keep_headers=True):
            passed_over = may_skip and self._session.backlog > BUSY
            records = batch.frames.records(batch.interface, self.interfaces, self.sections, first)
            if self._sink:
                self.captured = first - 1 + self._sink.write(batch)
            if passed_over:
                self.skipped += len(batch.frames)
                continue
            chosen = Chosen(dissector.dissect(records))
            yield chosen if packet_filter is None else chosen.only(packet_filter.mask(chosen.packets))

    def _batches(self, *, keep_headers: bool = False) -> Iterator[tuple[Batch, int]]:
        """The packets as they come, with the number of each batch's first. They are written, unless `keep_headers`:
        then whoever asked does it, once what it needs is copied.
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
                if self._sink and not keep_headers:
                    self.captured = first - 1 + self._sink.write(taken)
                yield taken, first
                if self._is_over():
                    break
        finally:
            stream.close()
            if self._sink:
                self._sink.close()

    def _tick(self) -> None:
        if self._sink:
            self._sink.output.turn(time.time_ns())
        if self.on_tick:
            self.on_tick()

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
            statistics_block(index, now_ns, self._start_ns, one) for index, one in enumerate(self._session.counters())
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
            path, begin, end, rotation=rotation, last_file=live.limits.files, now_ns=time.time_ns()
        )
        self._open = True

    def write(self, batch: Batch) -> int:
        """Write the packets, which destroys what the ring holds beside them; how many still belonged into the files."""
        frames = batch.frames
        if self._kind == "pcap":
            pieces = pcap_pieces(frames)
        else:
            pieces = pcapng_pieces(frames, batch.interface, with_flags=self._with_flags[batch.interface])
        try:
            return self.output.write(pieces, frames.time_ns)
        except BaseException:
            self._open = False
            self.output.abandon()
            raise

    def close(self) -> None:
        """End the file; once."""
        if self._open:
            self._open = False
            self.output.finish(time.time_ns())


def _open_ring(
    name: str, capture_filter: str, snap_len: int, promiscuous: bool, buffer_bytes: int, retire_ms: int
) -> PacketRing:
    try:
        instructions = compile_filter(capture_filter, link_of(name)[0], snap_len, name) if capture_filter else b""
        return PacketRing(
            name,
            instructions=instructions,
            promiscuous=promiscuous,
            ring_bytes=buffer_bytes,
            snap_len=snap_len,
            retire_ms=retire_ms,
        )
    except OperationError as error:
        error.meaning, error.remedy = _advice(error, name)
        raise


def _advice(error: OperationError, name: str) -> tuple[str, str]:
    """What a refusal means, and what to do about it."""
    if error.number in (errno.EPERM, errno.EACCES):
        command = shlex.join([shutil.which("echowire") or "echowire", *sys.argv[1:]])
        python = shlex.quote(str(Path(sys.executable).resolve()))
        return (
            "Packets of others are seen with CAP_NET_RAW only",
            f"Run 'sudo {command}', or allow every program of this Python: 'sudo setcap cap_net_raw+ep {python}'.",
        )
    if error.number in (errno.ENODEV, errno.ENXIO):
        return f"There is no interface {name}", "List them with `echowire capture -D`."
    if error.number in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
        return "This system has no packet sockets with a ring (Linux's AF_PACKET, TPACKET_V3)", ""
    return "", ""


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
    from echowire.analysis.packet_filter import PacketFilter  # Polars, which only they need who filter
    from echowire.wire.display_filter import parse_filter

    return PacketFilter(parse_filter(display_filter))


def interfaces() -> list[NetworkInterface]:
    """The interfaces of this host, first those that one would choose. Raises `OperationError`."""
    return list_interfaces()


MEMORY_BYTES = 256 << 20
"""What the packets of `capture` take in memory at most, unless told otherwise; then it stops. That is a test's or an
afternoon's capture; a longer one goes to files."""

PROMPT_MS = 10
"""A block is handed over after this in `capture`: who waits for packets, in a test, does not wait for the ring."""


class LivePackets:
    """Packets that are captured while they are looked at: a table that grows. Used as a context manager.

    What can be asked of `echowire.read` can be asked of this, each time of all that there is: `filter`, `head`,
    `chunks`, `lines`. It ends at its limit, by `stop`, or with the `with` block; what came can be asked after that too,
    until `close`.
    """

    def __init__(self, live: LiveCapture) -> None:
        self._live = live
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._memory = os.memfd_create("echowire-capture", os.MFD_CLOEXEC)
        try:
            live.write_to(f"/proc/self/fd/{self._memory}")
        except BaseException:
            os.close(self._memory)
            raise
        self._thread = threading.Thread(target=self._run, name="echowire-capture", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for _ in self._live.progress():
                with self._changed:
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return self._live.captured

    def __bool__(self) -> bool:
        return True

    @property
    def counters(self) -> CaptureCounters:
        """What came of the packets so far."""
        return self._final or self._live.counters()

    _final: CaptureCounters | None = None

    def wait(self, count: int, timeout_s: float | None = None) -> bool:
        """Wait until there are `count` packets; False if it ended, or the time was over, before."""
        with self._changed:
            self._changed.wait_for(lambda: len(self) >= count or not self._thread.is_alive(), timeout_s)
        return len(self) >= count

    def stop(self) -> None:
        """Take no more packets, and wait for those that came. Raises what went wrong meanwhile, once."""
        self._live.stop()
        self._thread.join()
        if self._final is None:
            self._final = self._live.counters()
            self._live.close()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Stop, and forget the packets."""
        try:
            self.stop()
        finally:
            if self._memory >= 0:
                os.close(self._memory)
                self._memory = -1

    def __del__(self) -> None:
        if getattr(self, "_memory", -1) >= 0:
            os.close(self._memory)

    @property
    def capture(self) -> Capture:
        """All packets so far, as a capture that was read."""
        return read(f"/proc/self/fd/{self._memory}")

    def filter(self, text: str) -> Capture:
        """Those for which a display filter holds; see `Capture.filter`."""
        return self.capture.filter(text)

    def head(self, count: int) -> Capture:
        """The first `count`."""
        return self.capture.head(count)

    def chunks(self, *names: str) -> Reading:
        """Chunk by chunk, to be asked for the fields `names`."""
        return self.capture.chunks(*names)

    def lines(self, *names: str, form: LineFormat | None = None) -> Iterator[bytes]:
        """A line a packet with its fields."""
        return self.capture.lines(*names, form=form)


def capture(
    *interfaces: str,
    filter: str = "",  # noqa: A002 - the word of tcpdump and of everybody
    count: int | None = None,
    duration_s: float | None = None,
    max_bytes: int = MEMORY_BYTES,
    snap_len: int = MAX_PACKET_BYTES,
    promiscuous: bool = True,
) -> LivePackets:
    """Capture on `interfaces` (or `any`) into memory, from now on: every packet that comes after this call returns.

    Ends by itself after `count` packets, `duration_s` seconds or `max_bytes`. Needs CAP_NET_RAW. Raises
    `OperationError` where it cannot be, `UsageError` for a capture filter (pcap-filter(7)) that is wrong.
    """
    live = LiveCapture(
        interfaces,
        filter=filter,
        snap_len=snap_len,
        promiscuous=promiscuous,
        limits=CaptureLimits(count, duration_s, max_bytes),
        retire_ms=PROMPT_MS,
    )
    try:
        return LivePackets(live)
    except BaseException:
        live.close()
        raise
