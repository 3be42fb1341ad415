"""The assembler against C's layout of an instruction, and against encodings that the kernel's macros give."""

from __future__ import annotations

import ctypes

import pytest

from echowire.core.bpf import assembler as asm
from echowire.core.bpf.assembler import R0, R1, R2, R6, R10, Label, assemble


class BpfInsn(ctypes.LittleEndianStructure):
    """struct bpf_insn (linux/bpf.h)."""

    _fields_ = (
        ("code", ctypes.c_uint8),
        ("dst_reg", ctypes.c_uint8, 4),
        ("src_reg", ctypes.c_uint8, 4),
        ("off", ctypes.c_int16),
        ("imm", ctypes.c_int32),
    )


def decoded(instruction: bytes) -> tuple[int, int, int, int, int]:
    assert len(instruction) == ctypes.sizeof(BpfInsn) == asm.INSTRUCTION.size == 8
    insn = BpfInsn.from_buffer_copy(instruction)
    return insn.code, insn.dst_reg, insn.src_reg, insn.off, insn.imm


@pytest.mark.parametrize(
    ("instruction", "code", "dst", "src", "off", "imm"),
    [
        # The opcodes are those that `llvm-objdump -d` shows for the same instructions.
        (asm.mov64_reg(R6, R1), 0xBF, 6, 1, 0, 0),
        (asm.mov64_imm(R0, -1), 0xB7, 0, 0, 0, -1),
        (asm.alu64_imm(asm.BPF_ADD, R2, -8), 0x07, 2, 0, 0, -8),
        (asm.alu64_reg(asm.BPF_ADD, R1, R2), 0x0F, 1, 2, 0, 0),
        (asm.alu64_reg(asm.BPF_SUB, R2, R1), 0x1F, 2, 1, 0, 0),
        (asm.alu64_imm(asm.BPF_AND, R1, 1), 0x57, 1, 0, 0, 1),
        (asm.ldx_mem(asm.BPF_W, R0, R1, 168), 0x61, 0, 1, 168, 0),
        (asm.ldx_mem(asm.BPF_H, R0, R1, 0), 0x69, 0, 1, 0, 0),
        (asm.ldx_mem(asm.BPF_B, R0, R1, 0), 0x71, 0, 1, 0, 0),
        (asm.ldx_mem(asm.BPF_DW, R0, R1, -16), 0x79, 0, 1, -16, 0),
        (asm.stx_mem(asm.BPF_DW, R10, R0, -8), 0x7B, 10, 0, -8, 0),
        (asm.st_mem(asm.BPF_DW, R10, -8, 7), 0x7A, 10, 0, -8, 7),
        (asm.atomic_add(R1, R2, 8), 0xDB, 1, 2, 8, 0),
        (asm.emit_call(46), 0x85, 0, 0, 0, 46),
        (asm.exit_insn(), 0x95, 0, 0, 0, 0),
    ],
)
def test_each_instruction(instruction: bytes, code: int, dst: int, src: int, off: int, imm: int) -> None:
    assert decoded(instruction) == (code, dst, src, off, imm)


def test_a_map_takes_the_room_of_two_instructions() -> None:
    both = asm.ld_map_fd(R1, 5)
    assert decoded(both[:8]) == (0x18, 1, asm.BPF_PSEUDO_MAP_FD, 0, 5)
    assert both[8:] == bytes(8)


def test_jumps_count_from_the_next_instruction_in_both_directions() -> None:
    code = assemble(
        Label("start"),
        asm.jmp_imm(asm.BPF_JEQ, R1, 3, "end"),
        asm.ld_map_fd(R1, 5),
        asm.jmp_reg(asm.BPF_JGT, R1, R2, "start"),
        asm.jmp_a("next"),
        Label("next"),
        Label("end"),
        asm.exit_insn(),
    )
    assert decoded(code[0:8]) == (0x15, 1, 0, 4, 3)
    assert decoded(code[24:32]) == (0x2D, 1, 2, -4, 0)
    assert decoded(code[32:40]) == (0x05, 0, 0, 0, 0)
    assert len(code) == 48


@pytest.mark.parametrize(("operation", "code"), [(asm.BPF_JNE, 0x55), (asm.BPF_JGE, 0x35), (asm.BPF_JGT, 0x25)])
def test_comparisons(operation: int, code: int) -> None:
    assert assemble(asm.jmp_imm(operation, R1, 0, "x"), Label("x"))[0] == code


def test_labels_must_be_there_once() -> None:
    with pytest.raises(ValueError, match="no label 'nowhere'"):
        assemble(asm.jmp_a("nowhere"))
    with pytest.raises(ValueError, match="'here' is there twice"):
        assemble(Label("here"), Label("here"))


def test_what_does_not_fit_is_refused_not_cut() -> None:
    with pytest.raises(Exception, match="format requires"):
        asm.ldx_mem(asm.BPF_DW, R0, R1, 1 << 15)
