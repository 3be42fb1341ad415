"""A block of the kernel's packet ring (AF_PACKET, TPACKET_V3) as columns, and put in order where it lies.

    block header    version 4 | private 4 | status 4 | packets 4 | offset of the first 4 | …
    each packet     tpacket3_hdr 48 | sockaddr_ll 20 | room | the packet | up to 7 bytes of padding

(linux/if_packet.h, Documentation/networking/packet_mmap.rst.) A block that the kernel has handed over is ours until it
is given back, so what it took away is put back in place: a VLAN tag that the network card, or the kernel, had removed,
and the header of a "cooked" packet, which has none of its own. For both there is room before the packet: the headers
in front of it take 82 bytes at least, and are read by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echowire.core.captures.numbers import SLL2_BYTES
from echowire.core.captures.records import PAD, Bytes, Interface, Records, Rows, Section, gather_words, scatter_words
from echowire.core.captures.ticks import SECOND_NS

BLOCK_STATUS, BLOCK_PACKETS, BLOCK_FIRST, BLOCK_USED = 8, 12, 16, 20
"""Offsets in a block of its status, of how many packets it has, of where the first is, and of how many bytes are
used."""
BLOCK_FIRST_S, BLOCK_LAST_S = 32, 40
"""Of the seconds of its first and last packet."""

HEADER_WORDS = 17
"""tpacket3_hdr and sockaddr_ll, in 32-bit words."""
NEXT, SECONDS, NANOSECONDS, CAP_LEN, LENGTH, STATUS, MAC, VLAN_TCI, VLAN_TPID = 0, 1, 2, 3, 4, 5, 6, 8, 9
LINK, IFINDEX, TYPES, ADDRESS = 12, 13, 14, 15
"""Words of them: of `LINK` the upper half is the protocol, in network order; `TYPES` is hardware type, packet type and
length of the address."""

ALIGNMENT = 8
"""Of each packet's header (V3_ALIGNMENT in net/packet/af_packet.c)."""

TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
ETH_P_8021Q = 0x8100
VLAN_BYTES = 4
ADDRESSES_BYTES = 12
"""Of an Ethernet packet before its type: there the tag goes."""

HOST, BROADCAST, MULTICAST, OTHER_HOST, OUTGOING = range(5)
"""Packet types (`PACKET_HOST` …): to us, to all, to some, to somebody else, from us."""

NO_ROWS: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The packets of one block, a row each. All offsets are in `block`."""

    block: Bytes
    head: Rows
    """Offset of each packet's header."""
    start: Rows
    """Offset of its first byte."""
    cap_len: Rows
    length: Rows
    time_ns: Rows
    words: NDArray[np.uint32]
    """The header, uint32[n, HEADER_WORDS]."""

    def __len__(self) -> int:
        return len(self.head)

    @property
    def packet_type(self) -> NDArray[np.uint32]:
        """`HOST` to `OUTGOING`."""
        return self.words[:, TYPES] >> np.uint32(16) & np.uint32(0xFF)

    @property
    def ifindex(self) -> NDArray[np.uint32]:
        """The number of the interface in the kernel."""
        return self.words[:, IFINDEX]

    def only(self, which: NDArray[np.bool_] | slice) -> Frames:
        """Some of them."""
        columns = {
            name: getattr(self, name)[which] for name in ("head", "start", "cap_len", "length", "time_ns", "words")
        }
        return replace(self, **columns)

    def records(
        self,
        interface: int,
        interfaces: tuple[Interface, ...],
        sections: tuple[Section, ...],
        first: int,
        *,
        option_size: Rows | None = None,
        tail: bytes = b"",
    ) -> Records:
        """They as records of a capture's `interface`, copied, so that the block can go back to the kernel.

        Where options were put behind the packets, `option_size` has their sizes, and `tail` is what follows the last.
        """
        begin, end = int(self.start[0]), int(self.start[-1] + self.cap_len[-1])
        rows = NO_ROWS if option_size is None else np.flatnonzero(option_size)
        behind = self.start + self.cap_len + (-self.cap_len & 3) - begin
        return Records(
            data=np.concatenate([self.block[begin:end], np.frombuffer(tail, np.uint8), np.zeros(PAD, np.uint8)]),
            start=self.start - begin,
            cap_len=self.cap_len,
            length=self.length,
            time_ns=self.time_ns,
            interface=np.full(len(self), interface, np.int32),
            link_type=np.full(len(self), interfaces[interface].link_type, np.int32),
            first=first,
            sections=sections,
            interfaces=interfaces,
            option_row=rows,
            option_start=behind[rows],
            option_size=NO_ROWS if option_size is None else option_size[rows],
        )


def read_block(block: Bytes) -> Frames:
    """The packets of a block that is ours, as the kernel left them."""
    words = block.view("<u4")
    count, first = int(words[BLOCK_PACKETS // 4]), int(words[BLOCK_FIRST // 4])
    words = words[: int(words[BLOCK_USED // 4]) // 4]
    head = _heads(words, count, first)
    header = gather_words(block, head, HEADER_WORDS)
    return Frames(
        block=block,
        head=head,
        start=head + (header[:, MAC] & 0xFFFF).astype(np.int64),
        cap_len=header[:, CAP_LEN].astype(np.int64),
        length=header[:, LENGTH].astype(np.int64),
        time_ns=header[:, SECONDS].astype(np.int64) * SECOND_NS + header[:, NANOSECONDS],
        words=header,
    )


def _heads(words: NDArray[np.uint32], count: int, first: int) -> Rows:
    """Where the headers are. Each says how far it is to the next, but to follow that costs a step in Python a packet.

    So all places are looked at where the time of a header of this block could stand. If what they say leads from each
    to the next, from the first on, and they are as many as the block says, they are the headers; a packet whose bytes
    look like one makes it go step by step.
    """
    # All words are compared, though every other one will do: what lies side by side is compared by the dozen.
    low, high = int(words[BLOCK_FIRST_S // 4]), int(words[BLOCK_LAST_S // 4])
    found = np.flatnonzero(
        words == low if low == high else words - np.uint32(low) <= np.uint32(high - low & 0xFFFF_FFFF)
    )
    found = (found - SECONDS) * 4
    at: Rows = found[(found >= first) & (found % ALIGNMENT == 0)]
    if len(at) == count and count and at[0] == first:
        size = words[at // 4]
        if (at[:-1] + size[:-1] == at[1:]).all():
            return at
    places, place = [], first
    for _ in range(count):
        places.append(place)
        place += int(words[place // 4])
    return np.array(places, np.int64)


def restore_vlan(frames: Frames, *, cooked: bool) -> Frames:
    """The packets with the VLAN tags put back that were taken out; of cooked ones before their header is made."""
    tagged = np.flatnonzero(frames.words[:, STATUS] & TP_STATUS_VLAN_VALID)
    if not len(tagged):
        return frames
    words = frames.words[tagged]
    tpid = np.where(words[:, STATUS] & TP_STATUS_VLAN_TPID_VALID, words[:, VLAN_TPID] & 0xFFFF, ETH_P_8021Q)
    tag = np.stack([tpid, words[:, VLAN_TCI] & 0xFFFF], axis=1).astype(">u2")
    start, block = frames.start[tagged], frames.block
    changed = frames.words.copy()
    if cooked:
        # The tag is the first of the payload then, and its type the protocol of the header.
        inner = (words[:, LINK] >> 16).astype("<u2").view(np.uint8).reshape(-1, 2)
        bare = np.concatenate([tag[:, 1:].copy().view(np.uint8), inner], axis=1)
        changed[tagged, LINK] = words[:, LINK] & 0xFFFF | tag[:, 0].copy().view("<u2").astype(np.uint32) << 16
        scatter_words(block, start - VLAN_BYTES, bare.copy().view("<u4").reshape(-1, 1))
    else:
        addresses = gather_words(block, start, ADDRESSES_BYTES // 4)
        scatter_words(block, start - VLAN_BYTES, addresses)
        scatter_words(block, start + ADDRESSES_BYTES - VLAN_BYTES, tag.copy().view("<u4").reshape(-1, 1))
    return _longer(replace(frames, words=changed), tagged, VLAN_BYTES)


def cook(frames: Frames) -> Frames:
    """The packets with LINKTYPE_LINUX_SLL2's header before each."""
    # protocol 2, zero 2 | interface 4 | hardware type 2, packet type 1, address length 1 | address 8
    words, out = frames.words, np.zeros((len(frames), SLL2_BYTES // 4), np.uint32)
    out[:, 0] = words[:, LINK] >> 16
    out[:, 1] = words[:, IFINDEX].byteswap()
    kinds = words[:, TYPES]
    out[:, 2] = (kinds & 0xFF) << 8 | (kinds >> 8 & 0xFF) | kinds & 0xFFFF_0000
    out[:, 3:5] = words[:, ADDRESS : ADDRESS + 2]
    scatter_words(frames.block, frames.start - SLL2_BYTES, out)
    return _longer(frames, slice(None), SLL2_BYTES)


def _longer(frames: Frames, which: Rows | slice, size: int) -> Frames:
    start, cap_len, length = frames.start.copy(), frames.cap_len.copy(), frames.length.copy()
    start[which] -= size
    cap_len[which] += size
    length[which] += size
    return replace(frames, start=start, cap_len=cap_len, length=length)
