"""A netlink socket: requests, dumps, acknowledgements and multicast groups (netlink(7)).

It raises plain `OSError`: who called knows what was asked and of what, and names it in `boundary.operation`. The
socket is `_socket`'s: what `socket` adds to it is not needed, and costs a twentieth of the time to list 40,000 sockets.
"""

from __future__ import annotations

import _socket
import errno
import sys
import threading
from _queue import SimpleQueue
from contextlib import suppress
from struct import pack

from echowire.core.sockets.netlink import (
    HEADER,
    HEADER_BYTES,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_MULTI,
    NLMSG_DONE,
    NLMSG_ERROR,
    error_number,
    messages,
    request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP = 270, 1, 2
SO_RCVBUFFORCE = 33

RECEIVE_BYTES = 65536
"""Room for one reply: the kernel fills buffers of 32 KiB, and of 64 KiB at most (`min_dump_alloc` has 16 bits)."""

ONE_REPLY_BYTES = 8192
"""Room for one message of a multicast group, which comes alone: of sock_diag less than one KiB."""

AHEAD_BUFFERS = 256
"""Replies read before they are worked on: 8 MiB, a sixth of a second of dumping."""

SWITCH_S = 5e-5
"""How soon the reading thread gets its turn, once its reply is there. With Python's own 5 ms the dump of 40,000
sockets would wait longer for its turns than the kernel takes for it."""


class NetlinkSocket:
    """A socket of one netlink family; used as a context manager. Not for several threads at once.

    Its network namespace is that in which the thread was that made it.
    """

    def __init__(self, protocol: int = NETLINK_SOCK_DIAG, groups: Iterable[int] = ()) -> None:
        if not hasattr(_socket, "AF_NETLINK"):  # another system than Linux
            raise OSError(errno.EAFNOSUPPORT, "no netlink")
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self._is_lossy = False
        groups = tuple(groups)
        try:
            if groups:
                self._socket.bind((0, 0))  # nothing arrives on a socket without an address
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> NetlinkSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, for a poller."""
        return self._socket.fileno()

    def grow(self, size: int) -> int:
        """Ask for a receive buffer of `size` bytes, with CAP_NET_ADMIN beyond `rmem_max`; what there is then."""
        with suppress(OSError):
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, size)
            self._socket.setsockopt(_socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        return self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF)

    def receive(self, *, wait: bool = True) -> bytes:
        """One reply. Raises `OSError`: ENOBUFS if some were lost since the last, EAGAIN if there is none yet."""
        return self._socket.recv(RECEIVE_BYTES, 0 if wait else _socket.MSG_DONTWAIT)

    def receive_many(self, most: int) -> bytes:
        """The replies that are there, at most so many, one behind the other; empty if there is none.

        Raises `OSError`: ENOBUFS if some were lost since the last, of which those that are there come the next time.
        """
        receive, dontwait, found = self._socket.recv, _socket.MSG_DONTWAIT, list[bytes]()
        try:
            for _ in range(most):
                found.append(receive(ONE_REPLY_BYTES, dontwait))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno == errno.ENOBUFS and found:
                self._is_lossy = True
            elif error.errno != errno.EINTR:
                raise
        if not found and self._is_lossy:
            self._is_lossy = False
            raise OSError(errno.ENOBUFS, "replies were lost")
        return b"".join(found)

    def leave(self, groups: Iterable[int]) -> None:
        """Leave multicast groups: what has come is there to be received, and nothing more comes."""
        for group in groups:
            with suppress(OSError):
                self._socket.setsockopt(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group)

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The replies to a request for a whole table, each a buffer of messages of the table.

        What ends the dump is not given. Raises `OSError` with what the kernel answered: ENOENT where it has no such
        table, EINVAL where it does not know what was asked.
        """
        self._sequence += 1
        self._socket.send(request(kind, body, flags=NLM_F_DUMP, sequence=self._sequence))
        done = pack(HEADER[:-1], HEADER_BYTES + 4, NLMSG_DONE, NLM_F_MULTI, self._sequence)
        while True:
            buffer = self._socket.recv(RECEIVE_BYTES)
            if buffer[4:6] not in _LAST:
                # A kernel may put the end behind the last of the table.
                if buffer[-HEADER_BYTES - 4 : -8] != done:
                    yield buffer
                    continue
                yield buffer[: -HEADER_BYTES - 4]
                buffer = buffer[-HEADER_BYTES - 4 :]
            for found, _, start, end in messages(buffer):
                if found in (NLMSG_DONE, NLMSG_ERROR) and (number := error_number(buffer, start, end)):
                    raise OSError(number, "the kernel refused the dump")
            return

    def request(self, kind: int, body: bytes) -> bytes:
        """The one reply to a request that asks for one entry. Raises `OSError` with what the kernel answered."""
        self._sequence += 1
        self._socket.send(request(kind, body, sequence=self._sequence))
        buffer = self._socket.recv(RECEIVE_BYTES)
        for found, _, start, end in messages(buffer):
            if found == NLMSG_ERROR and (number := error_number(buffer, start, end)):
                raise OSError(number, "the kernel has no such entry")
        return buffer

    def ask(self, kind: int, body: bytes) -> None:
        """A request that is acknowledged. Raises `OSError` with what the kernel answered."""
        self._sequence += 1
        self._socket.send(request(kind, body, flags=NLM_F_ACK, sequence=self._sequence))
        while True:
            buffer = self._socket.recv(RECEIVE_BYTES)
            for found, _, start, end in messages(buffer):
                if found == NLMSG_ERROR:
                    if number := error_number(buffer, start, end):
                        raise OSError(number, "the kernel refused the request")
                    return


_LAST = tuple(kind.to_bytes(2, sys.byteorder) for kind in (NLMSG_DONE, NLMSG_ERROR))


def read_ahead(buffers: Iterator[bytes]) -> Iterator[bytes]:
    """The same buffers, read by a thread of their own while the caller works on the last: the kernel on one
    processor, Python on the other. An error arises where its buffer would have come.
    """
    ready: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(AHEAD_BUFFERS)
    left = threading.Event()

    def read() -> None:
        try:
            for buffer in buffers:
                room.acquire()
                if left.is_set():
                    break
                ready.put(buffer)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    switch, thread = sys.getswitchinterval(), threading.Thread(target=read, name="echowire-netlink", daemon=True)
    sys.setswitchinterval(SWITCH_S)
    thread.start()
    try:
        while (buffer := ready.get()) is not None:
            if isinstance(buffer, BaseException):
                raise buffer
            room.release()
            yield buffer
    finally:
        sys.setswitchinterval(switch)
        left.set()
        room.release()
        thread.join()
