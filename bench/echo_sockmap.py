"""The least that a sockmap needs to echo TCP: `python bench/echo_sockmap.py PORT`, as root.

Its program redirects each segment to where it came from and looks at nothing else: no limit holds back a peer that
does not read, nothing is counted, a repeated byte is echoed twice, and connections are never closed. It is no server,
but a yardstick: what the kernel engine costs beyond it is the engine's, and the rest is the kernel's.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

from echowire.core.bpf import assembler as asm
from echowire.core.bpf.assembler import R0, R1, R2, R3, R4, R6, R10
from echowire.errors import OperationError
from echowire.kernel.bpf import syscall as bpf
from echowire.kernel.bpf.echo_map import SO_COOKIE
from echowire.kernel.bpf.echo_program import CONTEXT_LEN, COOKIE, SK_DROP

KEY = -COOKIE.size  # on the program's stack


def program(sockets: int) -> bytes:
    """The verdict program over the map of sockets, whose keys are cookies."""
    return asm.assemble(
        asm.mov64_reg(R6, R1),
        asm.ldx_mem(asm.BPF_W, R2, R6, CONTEXT_LEN),
        asm.jmp_imm(asm.BPF_JEQ, R2, 0, "drop"),
        asm.emit_call(bpf.BPF_FUNC_GET_SOCKET_COOKIE),
        asm.stx_mem(asm.BPF_DW, R10, R0, KEY),
        asm.mov64_reg(R1, R6),
        asm.ld_map_fd(R2, sockets),
        asm.mov64_reg(R3, R10),
        asm.alu64_imm(asm.BPF_ADD, R3, KEY),
        asm.mov64_imm(R4, 0),
        asm.emit_call(bpf.BPF_FUNC_SK_REDIRECT_HASH),
        asm.exit_insn(),
        asm.Label("drop"),
        asm.mov64_imm(R0, SK_DROP),
        asm.exit_insn(),
    )


def main(port: int) -> None:
    """Accept for ever; the kernel does the rest."""
    sockets = bpf.Map(bpf.BPF_MAP_TYPE_SOCKHASH, COOKIE.size, COOKIE.size, 4096, "bare_socks")
    loaded = bpf.load_program(bpf.BPF_PROG_TYPE_SK_SKB, program(sockets.fd), "bare_echo")
    bpf.attach(loaded, sockets.fd, bpf.BPF_SK_SKB_STREAM_VERDICT, "bare_echo")
    accepted = []
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            sock, _ = listener.accept()
            with suppress(OperationError):  # who has already left
                sockets.update(sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, COOKIE.size), COOKIE.pack(sock.fileno()))
            accepted.append(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
