"""Every socket that a process has open, from the kernel in one pass: a BPF iterator over the files of all processes.

To read the link of each descriptor in /proc is a system call each, which on a host of 40,000 sockets is most of the
time that `sockets -p` takes. Here a program of two dozen instructions is called for each open file, and writes a row
of those that are sockets: a third of a microsecond each, and a read for 2,000 of them. Where the kernel has its
structures' members is told by its type information. Nothing is pinned: program, link and iterator are descriptors,
and end with this process. Documentation/bpf/bpf_iterators.rst; `iter/task_file` is there from Linux 5.8.
"""

from __future__ import annotations

import errno
import os
from functools import cache

from echowire.core.bpf.assembler import (
    BPF_ADD,
    BPF_DW,
    BPF_JEQ,
    BPF_JNE,
    BPF_W,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    R8,
    R9,
    R10,
    Label,
    alu64_imm,
    assemble,
    emit_call,
    exit_insn,
    jmp_imm,
    jmp_reg,
    ldx_mem,
    mov64_imm,
    mov64_reg,
    stx_mem,
)
from echowire.core.bpf.btf import function_number, member_offsets
from echowire.errors import OperationError
from echowire.kernel.boundary import operation
from echowire.kernel.bpf import syscall as bpf

SOCKFS_MAGIC = 0x534F434B  # linux/magic.h
META, TASK, DESCRIPTOR, FILE = 0, 8, 16, 24
"""What the program is called with (`struct bpf_iter__task_file`), eight bytes each."""

ROW = "=Q8s"
"""The socket's inode, and who holds it (`echowire.core.sockets.fields.HOLDER`)."""

ROW_BYTES = 16
PROC_PID_INIT_INO = 0xEFFFFFFC
"""The inode of the first namespace of processes (linux/proc_ns.h), whose numbers the kernel's own are."""


def rows() -> bytes:
    """A row (`ROW`) of every descriptor of every process that is a socket, by process and descriptor.

    Raises `OperationError` where the kernel does not let us, or does not say how.
    """
    if not _numbers_are_proc_s():
        raise OperationError("trace", "open sockets", errno.EOPNOTSUPP, "processes have other numbers here")
    instructions, function = _program()
    kind, attach = bpf.BPF_PROG_TYPE_TRACING, bpf.BPF_TRACE_ITER
    program = bpf.load_program(kind, instructions, "ew_open_sockets", attach_type=attach, function=function)
    try:
        with operation("read", "open sockets"):
            return bpf.iterate(program, "open sockets")
    finally:
        os.close(program)


def _numbers_are_proc_s() -> bool:
    """Whether the kernel's own numbers of processes are those of /proc: not so in a container."""
    try:
        own = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116
        return own == PROC_PID_INIT_INO and os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115
    except OSError:
        return False


@cache
def _program() -> tuple[bytes, int]:
    """The program, and the number of the kernel's function that it is for. Raises `OperationError`."""
    try:
        btf = bpf.type_information()
        function = function_number(btf, "bpf_iter_task_file", ("meta", "task", "fd", "file"))
        offsets: dict[str, int] = {}
        for structure, members in (
            ("task_struct", ("pid", "tgid")),
            ("file", ("f_inode",)),
            ("inode", ("i_sb", "i_ino")),
            ("super_block", ("s_magic",)),
        ):
            offsets |= member_offsets(btf, structure, members)
    except (OSError, ValueError) as error:
        meaning = "this kernel does not say how its files are laid out"
        raise OperationError("trace", "open sockets", errno.EOPNOTSUPP, meaning) from error
    return _instructions(offsets), function


def _instructions(offsets: dict[str, int]) -> bytes:
    """For one file of one task: a row if it is a socket, and the task not another one's thread."""
    return assemble(
        ldx_mem(BPF_DW, R6, R1, TASK),
        jmp_imm(BPF_JEQ, R6, 0, "end"),  # the last call has neither task nor file
        ldx_mem(BPF_DW, R7, R1, FILE),
        jmp_imm(BPF_JEQ, R7, 0, "end"),
        # A socket's file is in sockfs. Of a path that was opened by O_PATH only the inode is a socket's.
        ldx_mem(BPF_DW, R7, R7, offsets["f_inode"]),
        ldx_mem(BPF_DW, R8, R7, offsets["i_sb"]),
        ldx_mem(BPF_DW, R8, R8, offsets["s_magic"]),
        jmp_imm(BPF_JNE, R8, SOCKFS_MAGIC, "end"),
        # A thread with a table of files of its own is not in /proc/PID/fd.
        ldx_mem(BPF_W, R8, R6, offsets["tgid"]),
        ldx_mem(BPF_W, R9, R6, offsets["pid"]),
        jmp_reg(BPF_JNE, R8, R9, "end"),
        ldx_mem(BPF_DW, R9, R7, offsets["i_ino"]),
        stx_mem(BPF_DW, R10, R9, -16),
        stx_mem(BPF_W, R10, R8, -8),
        ldx_mem(BPF_DW, R8, R1, DESCRIPTOR),
        stx_mem(BPF_W, R10, R8, -4),
        ldx_mem(BPF_DW, R1, R1, META),
        ldx_mem(BPF_DW, R1, R1, 0),  # meta->seq
        mov64_reg(R2, R10),
        alu64_imm(BPF_ADD, R2, -ROW_BYTES),
        mov64_imm(R3, ROW_BYTES),
        emit_call(bpf.BPF_FUNC_SEQ_WRITE),
        Label("end"),
        mov64_imm(R0, 0),
        exit_insn(),
    )
