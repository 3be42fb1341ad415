"""Capture filters, compiled by the system's libpcap: pcap-filter(7) in, a classic BPF program out.

The language has grown for thirty years and is what its one compiler makes of it, so that compiler is used, through a
thin binding. It is a part of every Linux distribution, and only `-f` needs it. Nothing is captured with it.
"""

from __future__ import annotations

import ctypes

from echowire.core.bpf.classic import BPF_ABS, BPF_CLASS, BPF_LD, BPF_LDX, BPF_MODE, BPF_MSH
from echowire.core.captures.numbers import LINKTYPE_LINUX_SLL2, SLL2_BYTES
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NAMES = ("libpcap.so.0.8", "libpcap.so.1")
"""Debian's name and everybody else's of the same library."""

REMEDY = "install it (apt install libpcap0.8, dnf install libpcap), or capture without -f and choose with -Y"

NETMASK_UNKNOWN = 0xFFFF_FFFF
ERROR_BYTES = 256  # PCAP_ERRBUF_SIZE
OPTIMIZE = 1

SKF_AD_OFF, SKF_AD_PROTOCOL, SKF_AD_PKTTYPE, SKF_AD_IFINDEX = -0x1000, 0, 4, 8  # linux/filter.h
SLL2_FIELDS = {0: SKF_AD_OFF + SKF_AD_PROTOCOL, 4: SKF_AD_OFF + SKF_AD_IFINDEX, 10: SKF_AD_OFF + SKF_AD_PKTTYPE}


class Instruction(ctypes.Structure):
    """struct bpf_insn."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("size", ctypes.c_uint), ("instructions", ctypes.POINTER(Instruction)))


def compile_filter(text: str, link_type: int, snap_len: int, interface: str) -> bytes:
    """The instructions (struct sock_filter) that accept the packets of `text`, cut to `snap_len`, on a packet socket.

    Raises `UsageError`: libpcap's own message for a filter that is wrong, or that libpcap is missing.
    """
    library = _library()
    # A filter on VLAN tags must ask the kernel, which keeps them apart; libpcap knows that of a live handle only.
    live = link_type != LINKTYPE_LINUX_SLL2 and "vlan" in text
    handle = _live_handle(library, interface, snap_len) if live else library.pcap_open_dead(link_type, snap_len)
    try:
        program = Program()
        if library.pcap_compile(handle, ctypes.byref(program), text.encode(), OPTIMIZE, NETMASK_UNKNOWN):
            raise UsageError(f"capture filter {text!r}: {_said(library.pcap_geterr(handle))}")
        try:
            compiled = [program.instructions[at] for at in range(program.size)]
            if link_type == LINKTYPE_LINUX_SLL2:
                _fit_cooked(compiled, text)
            return b"".join(bytes(one) for one in compiled)
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)


def _fit_cooked(compiled: list[Instruction], text: str) -> None:
    """Change offsets into SLL2's header, which the kernel does not see, to what it knows by other names."""
    for one in compiled:
        is_fixed = one.code & BPF_CLASS == BPF_LD and one.code & BPF_MODE == BPF_ABS
        is_header = one.code & BPF_CLASS == BPF_LDX and one.code & BPF_MODE == BPF_MSH
        if not (is_fixed or is_header) or one.k >= SKF_AD_OFF & 0xFFFF_FFFF:
            continue
        if one.k >= SLL2_BYTES:
            one.k -= SLL2_BYTES
        elif one.k in SLL2_FIELDS:
            one.k = SLL2_FIELDS[one.k] & 0xFFFF_FFFF
        else:
            raise UsageError(f"capture filter {text!r}: not on any, where the kernel cannot look at that field")


def _live_handle(library: Any, interface: str, snap_len: int) -> Any:
    said = ctypes.create_string_buffer(ERROR_BYTES)
    handle = library.pcap_create(interface.encode(), said)
    if not handle:
        raise UsageError(f"capture filter on {interface}: {_said(said.value)}")
    library.pcap_set_snaplen(handle, snap_len)
    if library.pcap_activate(handle) < 0:
        why = _said(library.pcap_geterr(handle))
        library.pcap_close(handle)
        raise UsageError(f"capture filter on {interface}: {why}")
    return handle


def _said(message: bytes) -> str:
    return " ".join(message.decode("utf-8", "replace").split())


def _names() -> Iterator[str]:
    yield from NAMES
    from ctypes.util import find_library  # which asks other programs, and is seldom needed

    if found := find_library("pcap"):
        yield found


def _library() -> Any:
    for name in _names():
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = library.pcap_create.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        for function in ("pcap_geterr", "pcap_close", "pcap_activate"):
            getattr(library, function).argtypes = (ctypes.c_void_p,)
        library.pcap_set_snaplen.argtypes = (ctypes.c_void_p, ctypes.c_int)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p,
            ctypes.POINTER(Program),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint,
        )
        return library
    raise UsageError(f"capture filters are compiled by libpcap, which is not here; {REMEDY}")
