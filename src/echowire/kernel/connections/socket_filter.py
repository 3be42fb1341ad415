"""What a socket takes, decided by a classic BPF program in the kernel (socket(7), SO_ATTACH_FILTER)."""

from __future__ import annotations

import ctypes
import socket
import struct

from echowire.core.bpf.classic import INSTRUCTION

SO_ATTACH_FILTER = 26


def attach_filter(sock: socket.socket, instructions: bytes) -> None:
    """Have a program (`echowire.core.bpf.classic`) decide what the socket takes. Raises `OSError`."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    count = len(instructions) // INSTRUCTION.size
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(code)))
