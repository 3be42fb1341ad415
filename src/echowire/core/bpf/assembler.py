"""BPF instructions as bytes: an assembler for the dozen kinds that a small program needs (RFC 9669, linux/bpf.h).

An instruction is eight bytes: opcode, destination and source register in four bits each, a jump's or an address's
offset, and a constant. The functions bear the names of the kernel's own macros (include/linux/filter.h) in lower
case. Jumps name their target; `assemble` finds it. All is little-endian, as are the machines this is for.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

INSTRUCTION = struct.Struct("<BBhi")
"""struct bpf_insn: `code`, `dst_reg:4` and `src_reg:4` (the destination has the lower bits), `off`, `imm`."""

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)
"""R0 is what a call returns and what the program answers; R1 to R5 are a call's arguments, and are lost by it;
R6 to R9 survive calls; R10 points to the end of the stack's 512 bytes."""

# Classes, the lowest three bits of the opcode.
BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_JMP, BPF_ALU64 = 0x00, 0x01, 0x02, 0x03, 0x05, 0x07
# Sizes and modes of loads and stores.
BPF_W, BPF_H, BPF_B, BPF_DW = 0x00, 0x08, 0x10, 0x18
BPF_IMM, BPF_MEM, BPF_ATOMIC = 0x00, 0x60, 0xC0
# Sources of the second operand: the constant or a register.
BPF_K, BPF_X = 0x00, 0x08
# Operations on numbers; ARSH is RSH that keeps the sign.
BPF_ADD, BPF_SUB, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_NEG = 0x00, 0x10, 0x40, 0x50, 0x60, 0x70, 0x80
BPF_MOV, BPF_ARSH = 0xB0, 0xC0
# Jumps; those with an S compare signed numbers.
BPF_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JNE, BPF_JSGT, BPF_JLE = 0x00, 0x10, 0x20, 0x30, 0x50, 0x60, 0xB0
BPF_CALL, BPF_EXIT = 0x80, 0x90
BPF_PSEUDO_MAP_FD = 1
"""As source register of a 64-bit constant: it is a map's descriptor, which the kernel replaces by its address."""


class Label:
    """A place in the program that jumps name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Jump:
    """A jump to `target`, not yet placed."""

    __slots__ = ("code", "immediate", "registers", "target")

    def __init__(self, code: int, registers: int, immediate: int, target: str) -> None:
        self.code, self.registers, self.immediate, self.target = code, registers, immediate, target


Part: TypeAlias = bytes | Label | Jump


def assemble(*parts: Part) -> bytes:
    """The program of `parts`, in order. Raises `ValueError` for a label that is missing or there twice."""
    places: dict[str, int] = {}
    place = 0
    for part in parts:
        if isinstance(part, Label):
            if part.name in places:
                raise ValueError(f"the label {part.name!r} is there twice")
            places[part.name] = place
        else:
            place += len(part) // INSTRUCTION.size if isinstance(part, bytes) else 1
    program = bytearray()
    for part in parts:
        if isinstance(part, Jump):
            if part.target not in places:
                raise ValueError(f"no label {part.target!r} to jump to")
            # From the instruction after the jump (RFC 9669 section 4.3).
            offset = places[part.target] - len(program) // INSTRUCTION.size - 1
            program += INSTRUCTION.pack(part.code, part.registers, offset, part.immediate)
        elif isinstance(part, bytes):
            program += part
    return bytes(program)


def alu64_imm(operation: int, dst: int, imm: int) -> bytes:
    """`dst = dst operation imm`, 64 bits; the constant is sign-extended."""
    return INSTRUCTION.pack(BPF_ALU64 | operation | BPF_K, dst, 0, imm)


def alu64_reg(operation: int, dst: int, src: int) -> bytes:
    """`dst = dst operation src`, 64 bits."""
    return INSTRUCTION.pack(BPF_ALU64 | operation | BPF_X, src << 4 | dst, 0, 0)


def mov64_imm(dst: int, imm: int) -> bytes:
    """`dst = imm`."""
    return alu64_imm(BPF_MOV, dst, imm)


def mov64_reg(dst: int, src: int) -> bytes:
    """`dst = src`."""
    return alu64_reg(BPF_MOV, dst, src)


def ldx_mem(size: int, dst: int, src: int, off: int) -> bytes:
    """`dst = *(src + off)`, of `size` (`BPF_W`: 32 bits, `BPF_DW`: 64)."""
    return INSTRUCTION.pack(BPF_LDX | size | BPF_MEM, src << 4 | dst, off, 0)


def stx_mem(size: int, dst: int, src: int, off: int) -> bytes:
    """`*(dst + off) = src`."""
    return INSTRUCTION.pack(BPF_STX | size | BPF_MEM, src << 4 | dst, off, 0)


def st_mem(size: int, dst: int, off: int, imm: int) -> bytes:
    """`*(dst + off) = imm`."""
    return INSTRUCTION.pack(BPF_ST | size | BPF_MEM, dst, off, imm)


def atomic_add(dst: int, src: int, off: int) -> bytes:
    """`*(dst + off) += src`, 64 bits, whoever else adds at the same time (RFC 9669 section 5.3)."""
    return INSTRUCTION.pack(BPF_STX | BPF_DW | BPF_ATOMIC, src << 4 | dst, off, BPF_ADD)


def ld_map_fd(dst: int, descriptor: int) -> bytes:
    """`dst =` the map that is open as `descriptor`. The one instruction that takes the room of two."""
    first = INSTRUCTION.pack(BPF_LD | BPF_DW | BPF_IMM, BPF_PSEUDO_MAP_FD << 4 | dst, 0, descriptor)
    return first + INSTRUCTION.pack(0, 0, 0, 0)


def jmp_a(target: str) -> Jump:
    """Go to `target`."""
    return Jump(BPF_JMP | BPF_JA, 0, 0, target)


def jmp_imm(operation: int, dst: int, imm: int, target: str) -> Jump:
    """Go to `target` if `dst operation imm`."""
    return Jump(BPF_JMP | operation | BPF_K, dst, imm, target)


def jmp_reg(operation: int, dst: int, src: int, target: str) -> Jump:
    """Go to `target` if `dst operation src`."""
    return Jump(BPF_JMP | operation | BPF_X, src << 4 | dst, 0, target)


def emit_call(function: int) -> bytes:
    """`R0 = function(R1, …, R5)`: a helper by its number (`BPF_FUNC_` in linux/bpf.h)."""
    return INSTRUCTION.pack(BPF_JMP | BPF_CALL, 0, 0, function)


def exit_insn() -> bytes:
    """Return R0."""
    return INSTRUCTION.pack(BPF_JMP | BPF_EXIT, 0, 0, 0)
