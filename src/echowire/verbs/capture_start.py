"""The beginning of a capture: its interfaces opened, so that the kernel keeps what comes, before all else is loaded.

"Start the capture, then reproduce" is what people do, and they do not wait half a second. So `LiveCapture` begins here,
and whoever is in a hurry, as the command is, makes a `CaptureStart` first, loads the rest, and hands it over. All that
is imported at the top of this file, and of what it imports, is at hand in a bare interpreter.
"""

from __future__ import annotations

import errno
import os
import time

from echowire.core.captures.numbers import MAX_NOTE_BYTES, MAX_PACKET_BYTES
from echowire.errors import OperationError, UsageError
from echowire.kernel.boundary import operation
from echowire.kernel.captures.ring_socket import RETIRE_MS, RING_BYTES, RingSocket, link_of
from echowire.kernel.output_files import CAPTURE_MODE, open_to_write
from echowire.kernel.privileges import acting_as, sudo_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class CaptureStart:
    """Packets of some interfaces, which the kernel keeps from when this is made, until a `LiveCapture` takes it over.

    Used as a context manager. Raises `OperationError`, with what to do about it, where an interface cannot be opened,
    and `UsageError` for a capture filter that is wrong.
    """

    def __init__(
        self,
        interfaces: Sequence[str],
        *,
        filter: str = "",  # noqa: A002 - the word of tcpdump and of everybody
        snap_len: int = MAX_PACKET_BYTES,
        promiscuous: bool = True,
        buffer_bytes: int = RING_BYTES,
        retire_ms: int = RETIRE_MS,
        processes: bool = False,
    ) -> None:
        """What is said by keyword is said in `Capturing`; `processes` is whether packets will be given theirs."""
        names = list(dict.fromkeys(interfaces))
        if not names:
            raise UsageError("name an interface to capture on; `echowire capture -D` lists them")
        self.filter = filter
        self.time_ns = time.time_ns()
        self.rings: list[RingSocket] = []
        self._file: tuple[str, int] | None = None
        try:
            for name in names:
                self.rings.append(_opened(name, filter, snap_len, promiscuous, buffer_bytes, retire_ms, processes))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CaptureStart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The interfaces'."""
        return tuple(ring.name for ring in self.rings)

    def check_kind(self, kind: str) -> None:
        """Raise `UsageError` where a file of this kind cannot have the packets of these interfaces."""
        if kind == "pcap" and len({ring.link_type for ring in self.rings}) > 1:
            raise UsageError("a pcap file has packets of one link type only; write a pcapng file")

    def open_file(self, path: str, kind: str) -> bool:
        """Open the file that all packets will be written to, as the user who called sudo, if somebody did: what says
        no, says it now. False where it is a named pipe that nobody reads yet. Raises `OperationError`.
        """
        self.check_kind(kind)
        with acting_as(sudo_user()), operation("write", path):
            try:
                self._file = path, open_to_write(path, CAPTURE_MODE, is_stopping=lambda: True)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return False
        return True

    def take_file(self, path: str) -> int | None:
        """The descriptor of the file, from now on the caller's; None where it was not opened."""
        opened, self._file = self._file, None
        return opened[1] if opened and opened[0] == path else None

    def close(self) -> None:
        """Keep no more packets."""
        for ring in self.rings:
            ring.close()
        if self._file:
            os.close(self._file[1])
            self._file = None


def _opened(
    name: str, filter_text: str, snap_len: int, promiscuous: bool, ring_bytes: int, retire_ms: int, processes: bool
) -> RingSocket:
    try:
        instructions = b""
        if filter_text:
            from echowire.kernel.captures.libpcap import compile_filter  # ctypes and libpcap, for a filter alone

            instructions = compile_filter(filter_text, link_of(name)[0], snap_len, name)
        return RingSocket(
            name,
            instructions=instructions,
            promiscuous=promiscuous,
            ring_bytes=ring_bytes,
            snap_len=snap_len,
            retire_ms=retire_ms,
            room_bytes=MAX_NOTE_BYTES if processes else 0,
        )
    except OperationError as error:
        error.meaning, error.remedy = _advice(error, name)
        raise


def _advice(error: OperationError, name: str) -> tuple[str, str]:
    """What a refusal means, and what to do about it."""
    if error.number in (errno.EPERM, errno.EACCES):
        import shlex
        import shutil
        import sys

        command = shlex.join([shutil.which("echowire") or "echowire", *sys.argv[1:]])
        python = shlex.quote(os.path.realpath(sys.executable))
        return (
            "Packets of others are seen with CAP_NET_RAW only",
            f"Run 'sudo {command}', or allow every program of this Python: 'sudo setcap cap_net_raw+ep {python}'.",
        )
    if error.number in (errno.ENODEV, errno.ENXIO):
        return f"There is no interface {name}", "List them with `echowire capture -D`."
    if error.number in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT):
        return "This system has no packet sockets with a ring (Linux's AF_PACKET, TPACKET_V3)", ""
    return "", ""
