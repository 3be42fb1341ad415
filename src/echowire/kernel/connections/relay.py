"""A faithful netcat: one poll loop between a channel and two descriptors, an input and an output.

Each direction holds at most one read; while that is not written, nothing more is read. So a slow output slows
the peer down, a slow peer slows the input down, and neither direction waits for the other.

Standard input and output are never made non-blocking: that is a flag of the open file, which the shell and every
other process of the terminal share. Reading blocks not, for poll has said that there is something; writing
blocks not, for a pipe that poll calls writable has room for PIPE_BUF bytes (pipe(7)), and no more are written.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

from echowire.errors import OperationError, ProtocolError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections.channel import CHUNK_BYTES, Channel, seconds_left

SOURCE_READ_BYTES = 64 * 1024
"""One read of the input: a pipe's default capacity (pipe(7))."""

DATAGRAM_PAYLOAD_MAX = 65_507
"""What UDP over IPv4 carries: 65,535 less the headers of 20 and 8 bytes (RFC 791, RFC 768)."""

SINK_WRITE_BYTES = select.PIPE_BUF
"""One write to an output that might block; see above."""

Stream: TypeAlias = int | BinaryIO
"""A descriptor, or a binary stream; one without a descriptor, such as BytesIO, is taken to be always ready."""

Tap: TypeAlias = Callable[[bytes], object]
"""Told of bytes that went by."""


class Reader(Protocol):
    """What makes of the bytes of an input those that are sent: a line editor, or another line end."""

    has_ended: bool
    """Whether the input has said by itself that this was all."""

    def feed(self, data: bytes) -> Sequence[bytes]:
        """What is to be sent now that `data` was read: none, one or several; of datagrams, each is one."""


@dataclass(slots=True)
class Relayed:
    """What a relay carried, and why it ended: `peer closed`, `quit`, `idle`, `output closed` or `interrupted`."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_messages: int = 0
    """Datagrams, or writes of a stream."""
    received_messages: int = 0
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Endings:
    """When to end. Times in seconds, None for never.

    `idle_s`: when nothing has moved for so long. `idle_after_input_s`: the same, once the input has ended.
    `quit_after_s`: so long after the end of the input, whatever still comes. `half_close`: tell the peer of it.
    """

    half_close: bool = True
    idle_s: float | None = None
    idle_after_input_s: float | None = None
    quit_after_s: float | None = None


def relay(
    channel: Channel,
    source: Stream,
    sink: Stream | None,
    endings: Endings,
    *,
    reader: Reader | None = None,
    on_sent: Tap | None = None,
    on_received: Tap | None = None,
) -> Relayed:
    """Send what `source` has, write what comes back to `sink` (None: nowhere), until the peer closes or `endings`.

    `reader` makes of what was read what is sent; without one it goes as it is.

    Raises `OperationError` when the connection is cut, or input or output fail; all that came before is written.
    An output whose reader has left is no error: it ends the relay.
    """
    return _Relay(channel, source, sink, endings, reader, on_sent, on_received).run()


class _Relay:
    """The loop. `outbound` and `inbound` are what was read and is not yet written; empty means: read again.

    `next_out` is what one read gave besides, where each is a message of its own.
    """

    def __init__(
        self,
        channel: Channel,
        source: Stream,
        sink: Stream | None,
        endings: Endings,
        reader: Reader | None,
        on_sent: Tap | None,
        on_received: Tap | None,
    ) -> None:
        self.channel, self.endings = channel, endings
        self.source, self.sink, self.reader = source, sink, reader
        self.on_sent, self.on_received = on_sent, on_received
        self.source_fd, self.sink_fd = _descriptor(source, "input"), _descriptor(sink, "output")
        self.sink_may_block = self.sink_fd is not None and not stat.S_ISREG(os.fstat(self.sink_fd).st_mode)
        self.outbound = self.inbound = memoryview(b"")
        self.next_out: deque[bytes] = deque()
        self.source_ended = self.peer_ended = False
        self.failure: OperationError | ProtocolError | None = None
        self.moved_at = time.perf_counter()
        self.input_ended_at: float | None = None
        self.done = Relayed()

    def run(self) -> Relayed:
        try:
            self._run()
        except KeyboardInterrupt:
            self.done.ended = "interrupted"
        if self.failure is not None and self.done.ended == "peer closed":
            raise self.failure
        return self.done

    def _run(self) -> None:
        while not self.done.ended:
            if (ready := self._wait()) is None:
                break
            self._write_sink(ready)
            self._receive()
            self._read_source(ready)
            self._send()
            if self.peer_ended and not self.inbound and not self.outbound and not self._has_input_now():
                self.done.ended = "peer closed"

    def _wait(self) -> dict[int, int] | None:
        """What poll says of each descriptor that something is wanted of; None, and why in `done`, when it is over."""
        reads_channel = not self.inbound and not self.peer_ended
        reads_source = not self.outbound and not self.source_ended
        watch: dict[int, int] = {}
        # A socket that nothing is wanted of is not watched: poll reports a hang-up unasked, and we would spin.
        if events := (select.POLLIN if reads_channel else 0) | (select.POLLOUT if self._must_send() else 0):
            watch[self.channel.fileno()] = events
        if reads_source and self.source_fd is not None:
            watch[self.source_fd] = watch.get(self.source_fd, 0) | select.POLLIN
        if self.sink_fd is not None:
            watch[self.sink_fd] = watch.get(self.sink_fd, 0) | (select.POLLOUT if self.inbound else 0)
        at_once = (
            (reads_channel and self.channel.has_more)
            or (reads_source and (self.source_fd is None or self.peer_ended))
            or (self.sink_fd is None and bool(self.inbound))
        )
        deadline = self._deadline()
        ready = _poll(watch, 0 if at_once else seconds_left(deadline, in_ms=True))
        if self.sink_fd is not None and not self.inbound and ready.get(self.sink_fd, 0) & _GONE:
            self.done.ended = "output closed"
        elif not ready and not at_once and deadline is not None and time.perf_counter() >= deadline:
            self.done.ended = "quit" if deadline == self._quit_at() else "idle"
        self.ready = ready
        return ready

    def _deadline(self) -> float | None:
        limits, endings = [self._quit_at()], self.endings
        if endings.idle_s is not None:
            limits.append(self.moved_at + endings.idle_s)
        if endings.idle_after_input_s is not None and self.input_ended_at is not None:
            limits.append(max(self.moved_at, self.input_ended_at) + endings.idle_after_input_s)
        return min((limit for limit in limits if limit is not None), default=None)

    def _quit_at(self) -> float | None:
        if self.input_ended_at is None or self.endings.quit_after_s is None:
            return None
        return self.input_ended_at + self.endings.quit_after_s

    def _must_send(self) -> bool:
        return bool(self.outbound) or self.channel.has_unsent

    def _has_input_now(self) -> bool:
        """Whether the input would still give something without waiting: a peer that closed its side may yet read."""
        if self.source_ended or self.failure is not None:
            return False
        return self.source_fd is None or bool(_poll({self.source_fd: select.POLLIN}, 0))

    def _receive(self) -> None:
        if self.inbound or self.peer_ended:
            return
        try:
            data = self.channel.receive(CHUNK_BYTES)
        except (OperationError, ProtocolError) as error:
            self.failure = self.failure or error
            self.peer_ended = self.source_ended = True
            self._drop_outbound()
            return
        if data is None:
            return
        if not data and self.channel.is_stream:
            self.peer_ended = True
            return
        self.moved_at = time.perf_counter()
        self.done.received_bytes += len(data)
        self.done.received_messages += 1
        if self.on_received is not None:
            self.on_received(data)
        if self.sink is not None:
            self.inbound = memoryview(data)

    def _send(self) -> None:
        if self.outbound or self.channel.has_unsent:
            try:
                self.channel.flush()
                sent = self.channel.send(self.outbound) if self.outbound else None
            except (OperationError, ProtocolError) as error:
                # What the peer said before it left is still read; after its end, its leaving is no surprise.
                self.failure = None if self.peer_ended else error
                self.source_ended, sent = True, None
                self._drop_outbound()
                if not self.channel.is_stream:
                    self.peer_ended = True
            if sent:
                self._count_sent(sent)
        if self.source_ended and self.input_ended_at is None and not self._must_send():
            self.input_ended_at = time.perf_counter()
            if self.endings.half_close and self.failure is None:
                self.channel.half_close()

    def _count_sent(self, sent: int) -> None:
        if self.on_sent is not None:
            self.on_sent(bytes(self.outbound[:sent]))
        self.outbound = self.outbound[sent:]
        if not self.outbound and self.next_out:
            self.outbound = memoryview(self.next_out.popleft())
        self.moved_at = time.perf_counter()
        self.done.sent_bytes += sent
        self.done.sent_messages += 1

    def _drop_outbound(self) -> None:
        self.outbound = memoryview(b"")
        self.next_out.clear()

    def _read_source(self, ready: dict[int, int]) -> None:
        if self.outbound or self.source_ended or (self.source_fd is not None and self.source_fd not in ready):
            return
        size = SOURCE_READ_BYTES if self.channel.is_stream else DATAGRAM_PAYLOAD_MAX
        try:
            if self.source_fd is not None:
                data = os.read(self.source_fd, size)
            else:
                assert not isinstance(self.source, int)
                data = self.source.read(size)
        except BlockingIOError:
            return  # somebody else has read it
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal has gone
                raise operation_error("read", "input", error) from error
            data = b""
        self.source_ended = not data
        if self.reader is None:
            self.outbound = memoryview(data)
        elif data:
            self.next_out.extend(filter(None, self.reader.feed(data)))
            self.outbound = memoryview(self.next_out.popleft() if self.next_out else b"")
            self.source_ended = self.reader.has_ended

    def _write_sink(self, ready: dict[int, int]) -> None:
        if not self.inbound or (self.sink_fd is not None and self.sink_fd not in ready):
            return
        try:
            if self.sink_fd is not None:
                size = os.write(self.sink_fd, self.inbound[:SINK_WRITE_BYTES] if self.sink_may_block else self.inbound)
            else:
                assert self.sink is not None and not isinstance(self.sink, int)
                size = self.sink.write(self.inbound)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.done.ended = "output closed"
            return
        except OSError as error:
            raise operation_error("write", "output", error) from error
        self.inbound = self.inbound[size:]


_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


def _poll(watch: dict[int, int], timeout_ms: float | None) -> dict[int, int]:
    poll = select.poll()
    for fd, events in watch.items():
        poll.register(fd, events)
    return dict(poll.poll(timeout_ms))


def _descriptor(stream: Stream | None, name: str) -> int | None:
    """The descriptor of `stream`, after what was written to it before is flushed; None if it has none."""
    if stream is None:
        return None
    with operation("use", name):
        if isinstance(stream, int):
            os.fstat(stream)
            return stream
        try:
            number = stream.fileno()
        except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
            return None
        if stream.writable():
            stream.flush()
        return number
