"""Lines and messages out of a connection: what most protocols consist of, and what a plain `recv` does not give.

It is what `Peer` has of `recv`, which alone touches the connection: what was read beyond a line is put back, so that
all ways to receive can be mixed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from echowire.errors import EchowireError, ProtocolError, UsageError
from echowire.kernel.connections.channel import CHUNK_BYTES, SEQPACKET_MAX, Channel

LINE_MAX = 64 * 1024
"""Bytes of a line, unless it is said: what asyncio's streams allow, and far above what protocols of lines do (RFC 5321
section 4.5.3.1 has 512 and 1,000)."""

MESSAGE_TRANSPORTS = ("udp", "unixgram", "unixseqpacket")
"""Whose messages have bounds of their own."""


class Lines(ABC):
    """What reads lines, and may be iterated over."""

    channel: Channel

    @abstractmethod
    def recv(self, n: int = CHUNK_BYTES, *, timeout: float | None = None) -> bytes:
        """Up to `n` bytes as soon as there are any, empty at the end; or one datagram, whole."""

    def recv_until(self, separator: bytes = b"\n", *, limit: int = LINE_MAX, timeout: float | None = None) -> bytes:
        """What a stream has up to and with `separator`; what comes after it is left for whoever receives next.

        Raises `ProtocolError` where the stream ends before, or has no separator in `limit` bytes, and as `recv`. What
        had come by then is left as well.
        """
        data, has_ended = self._gathered(separator, limit, timeout)
        if has_ended:
            self.channel.put_back(data)
            got = f"after {len(data)} bytes" if data else "and sent none"
            raise ProtocolError(
                f"recv {self.channel.endpoint}: the peer closed the connection {got}, before {separator!r}"
            )
        return data

    def readline(self, *, limit: int = LINE_MAX, timeout: float | None = None) -> bytes:
        """The next line of a stream with its end; the last one may have none, and at the end it is empty.

        Raises `ProtocolError` where a line is longer than `limit` bytes, and as `recv`.
        """
        return self._gathered(b"\n", limit, timeout)[0]

    def __iter__(self) -> Iterator[bytes]:
        """The lines of a stream as `readline` gives them, until it ends; of datagrams, and of a `unixseqpacket`
        connection, the messages.

        Raises as `readline` and `recv` do: `NoReplyError` where nothing comes for the time that `call` was given.
        """
        if self.channel.endpoint.transport not in MESSAGE_TRANSPORTS:
            yield from iter(self.readline, b"")
            return
        while (message := self.recv(SEQPACKET_MAX)) or not self.channel.is_stream:
            yield message

    def _gathered(self, separator: bytes, limit: int, timeout: float | None) -> tuple[bytes, bool]:
        """What came up to and with `separator`, and whether the stream ended instead."""
        if not self.channel.is_stream:
            raise UsageError("a datagram is whole, and has no lines that go on in the next; recv gives it")
        if not separator:
            raise UsageError("an empty separator is everywhere; give at least one byte")
        got = bytearray()
        looked = 0
        try:
            while (at := got.find(separator, looked)) < 0:
                looked = max(0, len(got) - len(separator) + 1)
                if len(got) >= limit:
                    raise self._too_long(separator, limit)
                # No more than the limit is held, whatever comes.
                if not (data := self.recv(min(CHUNK_BYTES, limit - len(got)), timeout=timeout)):
                    return bytes(got), True
                got += data
        except EchowireError:
            self.channel.put_back(bytes(got))
            raise
        end = at + len(separator)
        if end < len(got):
            self.channel.put_back(bytes(got[end:]))
        return bytes(got[:end]), False

    def _too_long(self, separator: bytes, limit: int) -> ProtocolError:
        return ProtocolError(
            f"recv {self.channel.endpoint}: no {separator!r} within {limit} bytes; allow more by limit"
        )
