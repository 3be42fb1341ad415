"""What a socket takes, decided by a classic BPF program in the kernel (socket(7), SO_ATTACH_FILTER)."""

from __future__ import annotations

import struct
from _socket import SOL_SOCKET
from array import array

from echowire.core.bpf.classic import INSTRUCTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

SO_ATTACH_FILTER = 26


def attach_filter(sock: socket, instructions: bytes) -> None:
    """Have a program (`echowire.core.bpf.classic`) decide what the socket takes. Raises `OSError`."""
    code = array("B", instructions)  # its address is had without ctypes, which takes its time to load
    address, size = code.buffer_info()
    sock.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", size // INSTRUCTION.size, address))
