"""The calls of helpers that several programs make, as instructions; what they are given lies on the stack (R10).

Each leaves its answer in R0 and loses R1 to R5, as every call does. linux/bpf.h describes the helpers.
"""

from __future__ import annotations

from echowire.core.bpf.assembler import (
    BPF_ADD,
    R1,
    R2,
    R3,
    R4,
    R10,
    Part,
    alu64_imm,
    emit_call,
    ld_map_fd,
    mov64_imm,
    mov64_reg,
)
from echowire.kernel.bpf import syscall as bpf


def look_up(table: int, key: int) -> tuple[Part, ...]:
    """R0 = where the value is that a map has under the key on the stack, or 0."""
    return (
        ld_map_fd(R1, table),
        mov64_reg(R2, R10),
        alu64_imm(BPF_ADD, R2, key),
        emit_call(bpf.BPF_FUNC_MAP_LOOKUP_ELEM),
    )


def tell(ring: int, record: int, size: int) -> tuple[Part, ...]:
    """Give the process a record of `size` bytes on the stack."""
    return (
        ld_map_fd(R1, ring),
        mov64_reg(R2, R10),
        alu64_imm(BPF_ADD, R2, record),
        mov64_imm(R3, size),
        mov64_imm(R4, 0),
        emit_call(bpf.BPF_FUNC_RINGBUF_OUTPUT),
    )


def read_kernel(to: int, size: int, base: int, offset: int) -> tuple[Part, ...]:
    """Copy `size` bytes of the kernel's memory, `offset` behind what the register `base` points to, to the stack."""
    return (
        mov64_reg(R1, R10),
        alu64_imm(BPF_ADD, R1, to),
        mov64_imm(R2, size),
        mov64_reg(R3, base),
        alu64_imm(BPF_ADD, R3, offset),
        emit_call(bpf.BPF_FUNC_PROBE_READ_KERNEL),
    )
