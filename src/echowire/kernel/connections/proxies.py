"""A connection through a proxy: what `core/proxies.py` has to say is said over the socket that leads to the proxy."""

from __future__ import annotations

import socket

from echowire.core.proxies import HEAD_MAX, Proxy, negotiation
from echowire.errors import NoReplyError, ProtocolError
from echowire.kernel.boundary import operation
from echowire.kernel.connections.channel import Channel, wait


def go_through(channel: Channel, proxy: Proxy, deadline: float | None) -> None:
    """Have `proxy`, to which `channel` is connected, connect on to the channel's endpoint.

    Not a byte of what comes after the proxy's answer is taken. Raises `ProtocolError`, `NoReplyError`, `OperationError`
    and `UsageError`.
    """
    doing = f"connect {channel.endpoint} through {proxy.endpoint.address}"
    steps = negotiation(proxy, channel.endpoint.host, channel.endpoint.port)
    try:
        step = next(steps)
        while True:
            _send(channel, step.send, doing, deadline)
            step = steps.send(_read(channel, step.want, doing, deadline))
    except StopIteration:
        return
    except ProtocolError as error:
        raise ProtocolError(str(error) if str(error).startswith(doing) else f"{doing}: {error}") from error


def _send(channel: Channel, data: bytes, doing: str, deadline: float | None) -> None:
    while data:
        sent = channel.send(data) or 0
        data = data[sent:]
        if not sent and not wait(channel, read=False, write=True, deadline=deadline):
            raise NoReplyError(f"{doing}: the proxy reads nothing (our timer)")


def _read(channel: Channel, want: int | None, doing: str, deadline: float | None) -> bytes:
    """`want` bytes, or a head of HTTP up to its empty line, and no more."""
    got = b""
    while not _is_whole(got, want):
        if not wait(channel, read=True, write=False, deadline=deadline):
            raise NoReplyError(f"{doing}: the proxy does not answer in time (our timer)")
        with operation("recv", channel.endpoint):
            seen = channel.socket.recv(HEAD_MAX - len(got) if want is None else want - len(got), socket.MSG_PEEK)
            if not seen:
                raise ProtocolError(f"{doing}: the proxy closed the connection")
            if want is None:
                seen = seen[: _end_of_head(got + seen) - len(got)]
            got += channel.socket.recv(len(seen))
    return got


def _is_whole(got: bytes, want: int | None) -> bool:
    if want is not None:
        return len(got) >= want
    return got.endswith((b"\r\n\r\n", b"\n\n")) or len(got) >= HEAD_MAX


def _end_of_head(data: bytes) -> int:
    """Where the head ends, or all of it where it does not yet."""
    ends = [at + len(end) for end in (b"\r\n\r\n", b"\n\n") if (at := data.find(end)) >= 0]
    return min(ends, default=len(data))
