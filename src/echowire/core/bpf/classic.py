"""Classic BPF, the older and smaller machine, which filters of sockets are written for (socket(7), linux/filter.h).

An instruction is eight bytes: opcode, how many to skip where a test holds and where it does not, and a constant. The
machine has an accumulator and an index register; a program answers how many bytes of the packet are kept. The
functions bear the names of the kernel's own macros in lower case.
"""

from __future__ import annotations

import struct

INSTRUCTION = struct.Struct("=HBBI")
"""struct sock_filter: `code`, `jt`, `jf`, `k`."""

BPF_CLASS, BPF_MODE = 0x07, 0xE0
# Classes; loads into the index register are LDX.
BPF_LD, BPF_LDX, BPF_JMP, BPF_RET = 0x00, 0x01, 0x05, 0x06
# Sizes and modes of loads: MSH is four times the lower half of a byte, which is the length of IPv4's header.
BPF_H, BPF_B = 0x08, 0x10
BPF_ABS, BPF_IND, BPF_MSH = 0x20, 0x40, 0xA0
BPF_JEQ, BPF_K = 0x10, 0x00

WHOLE = 0xFFFF_FFFF
NOTHING = 0


def bpf_stmt(code: int, constant: int) -> bytes:
    """An instruction that is no test."""
    return INSTRUCTION.pack(code, 0, 0, constant)


def bpf_jump(code: int, constant: int, if_true: int, if_false: int) -> bytes:
    """A test, and how many instructions are skipped where it holds, and where it does not."""
    return INSTRUCTION.pack(code, if_true, if_false, constant)


def accept(size: int) -> bytes:
    """The end of a program, or all of one: keep the packet, up to `size` bytes of it; `NOTHING` drops it."""
    return bpf_stmt(BPF_RET | BPF_K, size)


def ports_only(ports: list[int], *, behind_ipv4: bool) -> bytes:
    """The program that keeps segments and datagrams to one of `ports` alone.

    They begin at the transport's header, or `behind_ipv4` at IPv4's, whose length stands in its first byte.
    """
    if behind_ipv4:
        load = bpf_stmt(BPF_LDX | BPF_MSH | BPF_B, 0) + bpf_stmt(BPF_LD | BPF_H | BPF_IND, 2)
    else:
        load = bpf_stmt(BPF_LD | BPF_H | BPF_ABS, 2)
    tests = (bpf_jump(BPF_JMP | BPF_JEQ | BPF_K, port, len(ports) - at, 0) for at, port in enumerate(ports))
    return load + b"".join(tests) + accept(NOTHING) + accept(WHOLE)
