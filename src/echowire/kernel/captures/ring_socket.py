"""A packet socket with its ring (packet(7), AF_PACKET with TPACKET_V3), opened: from then on the kernel keeps packets.

It is opened before all else is loaded, since whoever starts a capture goes on at once to what is to be captured. So
nothing here needs more than the interpreter has at hand; the ring's memory is looked at, with numpy, by
`kernel/captures/ring.py` (`PacketRing`), which takes the socket over. Until then the kernel fills it alone.

The socket is made for no protocol, and so takes nothing; then come ring and filter, and it is bound last. So the first
packet in the ring is one that passes the filter, and none has to be thrown away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from _socket import AF_INET, AF_PACKET, SO_ERROR, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, htons, if_nametoindex, socket

from echowire.core.bpf.classic import NOTHING, accept
from echowire.core.captures.numbers import LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL2, MAX_PACKET_BYTES
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.connections.socket_filter import attach_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from echowire.errors import OperationError

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 1, 5, 6, 10
PACKET_RESERVE = 12
PACKET_IGNORE_OUTGOING = 23  # from Linux 4.20
TPACKET_V3 = 2
PACKET_MR_PROMISC = 1
ETH_P_ALL = 3

RING_REQUEST = struct.Struct("=7I")  # struct tpacket_req3
STATISTICS = struct.Struct("=3I")  # struct tpacket_stats_v3: packets (with those dropped), drops, times it stood still
MEMBERSHIP = struct.Struct("=iHH8s")  # struct packet_mreq
ADDRESS = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll
SIOCGIFNAME, SIOCGIFHWADDR = 0x8910, 0x8927  # linux/sockios.h

BLOCK_BYTES = 1 << 20
"""A block: some 5,000 small packets, so that what a block costs is little for each, and still in the cache."""

RING_BYTES = 32 << 20
"""The ring, unless another is asked for. It holds what comes while this process does not run or its disk stands still:
350,000 small packets, two thirds of a second of half a million a second. dumpcap has 2 MiB, tcpdump as much."""

MAX_RING_BYTES = 1 << 30
"""The kernel takes it from memory that cannot be swapped."""

RETIRE_MS = 100
"""After so long a block is handed over though it is not full: what is seen and written is not older."""

ARPHRD_LOOPBACK = 772
LINK_TYPES = {1: LINKTYPE_ETHERNET, ARPHRD_LOOPBACK: LINKTYPE_ETHERNET, 801: 105, 802: 119, 803: 127}
LINK_TYPES |= dict.fromkeys((519, 65534, 768, 769, 776, 778), 101)
"""By hardware type (linux/if_arp.h): Ethernet and loopback, 802.11 bare and with its headers, and those that carry IP
without any header. All others are captured cooked, with the kernel's account of the link in front."""

ANY = "any"
"""The pseudo-interface of all interfaces, as libpcap has it."""


class RingSocket:
    """The packets of one interface, or of `any`, in a ring that the kernel fills. Raises `OperationError`."""

    def __init__(
        self,
        interface: str,
        *,
        instructions: bytes = b"",
        promiscuous: bool = True,
        ring_bytes: int = RING_BYTES,
        snap_len: int = MAX_PACKET_BYTES,
        retire_ms: int = RETIRE_MS,
        room_bytes: int = 0,
    ) -> None:
        """`instructions` are those of a classic BPF program for the link type of `link_of(interface)`, which accepts
        and cuts. `room_bytes` are left free before each packet, beyond what the kernel's headers take: a multiple of
        16.
        """
        self.name = interface
        self.link_type, self.cooked, hardware = link_of(interface)
        self.is_loopback = hardware == ARPHRD_LOOPBACK
        self.snap_len = snap_len
        self.retire_ms = retire_ms
        self.blocks = 0
        """Of `BLOCK_BYTES` each, that the ring has."""
        self.losses_before = interface_losses(interface)
        with operation("capture on", interface):
            self.index = 0 if interface == ANY else _index_of(interface)
            self._socket = socket(AF_PACKET, SOCK_DGRAM if self.cooked else SOCK_RAW, 0)
        try:
            with operation("capture on", interface):
                self._set_up(instructions or accept(snap_len), promiscuous, ring_bytes, room_bytes)
        except BaseException:
            self._socket.close()
            raise

    def _set_up(self, instructions: bytes, promiscuous: bool, ring_bytes: int, room: int) -> None:
        option = self._socket.setsockopt
        option(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        option(SOL_PACKET, PACKET_RESERVE, room)
        self._make_ring(max(2, min(ring_bytes, MAX_RING_BYTES) // BLOCK_BYTES))
        attach_filter(self._socket, instructions)
        if self.is_loopback:
            # Each packet there comes by twice, going out and coming in. Older kernels' are sorted out in `blocks`.
            try:
                option(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
        if promiscuous and self.index:
            option(SOL_PACKET, PACKET_ADD_MEMBERSHIP, MEMBERSHIP.pack(self.index, PACKET_MR_PROMISC, 0, bytes(8)))
        if self.index:
            self._socket.bind((self.name, ETH_P_ALL))
        else:
            bind_all(self._socket, 0)

    def _make_ring(self, blocks: int) -> None:
        """A ring of so many blocks, or of as many as there is memory for."""
        while True:
            # The frame size only has to divide the block: packets lie in it as long as they are.
            request = RING_REQUEST.pack(BLOCK_BYTES, blocks, 2048, BLOCK_BYTES // 2048 * blocks, self.retire_ms, 0, 0)
            try:
                self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
                break
            except OSError as error:
                if error.errno != errno.ENOMEM or blocks <= 2:
                    raise
                blocks //= 2
        self.blocks = blocks

    def fileno(self) -> int:
        """The descriptor, readable when there is a block, and whose memory is the ring."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket: the kernel keeps no more packets."""
        self._socket.close()

    def stop(self) -> None:
        """Take no more packets: what is in the ring by now comes out of it within `retire_ms`."""
        with operation("capture on", self.name):
            attach_filter(self._socket, accept(NOTHING))

    def error(self) -> OperationError | None:
        """What went wrong with the interface since the last look: it went down, or is gone (`is_gone`)."""
        number = self._socket.getsockopt(SOL_SOCKET, SO_ERROR)
        return operation_error("capture on", self.name, OSError(number, os.strerror(number))) if number else None

    @property
    def is_gone(self) -> bool:
        """Whether the interface is no more. The socket is asked: /sys may be another network namespace's."""
        if self.name == ANY:
            return False
        try:
            fcntl.ioctl(self.fileno(), SIOCGIFNAME, struct.pack("=16si20x", b"", self.index))
        except OSError as error:
            return error.errno == errno.ENODEV
        return False

    def statistics(self) -> tuple[int, int]:
        """Packets that passed the filter, and of these those that found no room, both since the last look."""
        received, dropped, _ = STATISTICS.unpack(
            self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, STATISTICS.size)
        )
        return received, dropped


def link_of(interface: str) -> tuple[int, bool, int]:
    """The LINKTYPE_ of what is captured on an interface, whether it is cooked, and the interface's hardware type."""
    if interface == ANY:
        return LINKTYPE_LINUX_SLL2, True, 0
    asked = socket(AF_INET, SOCK_DGRAM)
    try:
        request = struct.pack("=16s24x", interface.encode()[:15])
        (hardware,) = struct.unpack_from("=H", fcntl.ioctl(asked.fileno(), SIOCGIFHWADDR, request), 16)
    except OSError:  # there is none such, as opening it will tell
        hardware = 1
    finally:
        asked.close()
    known = LINK_TYPES.get(hardware)
    return (LINKTYPE_LINUX_SLL2, True, hardware) if known is None else (known, False, hardware)


def _index_of(interface: str) -> int:
    try:
        return if_nametoindex(interface)
    except OSError as error:  # it bears no number
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error


def bind_all(sock: socket, index: int) -> None:
    """Have a packet socket take what comes and goes on interface `index`, 0 being all of them. Raises `OSError`.

    Python's own `bind` wants a name, and `any` has none.
    """
    import ctypes  # which takes its time, and which an interface that has a name does not need

    address = ADDRESS.pack(AF_PACKET, htons(ETH_P_ALL), index, 0, 0, 0, bytes(8))
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


LOST = ("rx_missed_errors", "rx_fifo_errors")
"""An interface's counters of packets that it lost before anybody could see them: those that libpcap adds up too."""


def interface_losses(interface: str) -> tuple[int, int, int]:
    """Counters of what was lost before a packet socket could see it: by the interface itself, what the kernel says it
    dropped of the interface's packets, and what it dropped of all packets for want of room before it looked at them.

    The second, `rx_dropped`, counts two kinds: packets that found no room in the queue of a processor, which nobody
    saw, and those that no protocol wanted once all packet sockets had them, as VLAN tags that no interface is for
    (__netif_receive_skb_core in net/core/dev.c). Of the first kind there are at most as many as the third counter has,
    that of all interfaces (softnet_data.dropped): see `lost_since`.
    """
    names = os.listdir("/sys/class/net") if interface == ANY else [interface]  # noqa: PTH208
    own = sum(_counter(f"/sys/class/net/{name}/statistics/{counter}") for name in names for counter in LOST)
    dropped = sum(_counter(f"/sys/class/net/{name}/statistics/rx_dropped") for name in names)
    return own, dropped, _queue_drops()


def lost_since(before: tuple[int, int, int], now: tuple[int, int, int]) -> int:
    """Packets that were lost for certain between two readings of `interface_losses`."""
    own, dropped, queued = (max(0, late - early) for early, late in zip(before, now, strict=True))
    return own + min(dropped, queued)


def _counter(path: str) -> int:
    try:
        return int(_read(path))
    except (OSError, ValueError):
        return 0


def _queue_drops() -> int:
    """Of all processors: the second column, in hexadecimal, of /proc/net/softnet_stat."""
    try:
        return sum(int(line.split()[1], 16) for line in _read("/proc/net/softnet_stat").splitlines())
    except (OSError, ValueError, IndexError):
        return 0


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded for it
        return file.read()
