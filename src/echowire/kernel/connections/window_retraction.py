"""When TCP takes back a window that it promised, and how to see that it has cut us off from our peer.

A receiver must not shrink its window (RFC 9293 section 3.8.6). Linux does, since it counts memory in truesize: what a
segment costs, not what it carries. The window is promised by an estimate of the one from the other
(tcp_sock.scaling_ratio); if smaller segments follow than those that the estimate was made of, they use up the receive
buffer while bytes that were allowed are still to come. Then one of these is dropped (tcp_data_queue, counted as
TCPRcvQDrop), and the answer says `win 0` from there on (ICSK_ACK_NOMEM, __tcp_select_window). What the peer sends from
now on carries the number of the byte after all that it has sent, and that lies beyond the window; so it is thrown away
(tcp_sequence), and with it the acknowledgement in it: that our bytes have come, and that there is room for more.

The same happens, with room in the buffer, where all of TCP is short of memory (tcp_mem, tcp(7)).

While the process reads, this lasts a round trip: the buffer empties, the window opens, the peer repeats what was
dropped. But who waits to write and reads nothing until he has waits for an acknowledgement that he does not hear,
because he does not read. Both ends stand still for ever, with one side's send buffer full and the other's receive
buffer empty, and not even a reset of the peer comes through. It was seen with every program that echoes so; with a
receive buffer of a fixed size (SO_RCVBUF), which does not grow when it overruns, of one connection in two hundred.
(RFC 7323 section 2.4 asks of a sender to live with a window that shrinks; Linux as a sender does, and as the receiver
that shrank it does not.)

So no loop may be deaf for as long as it waits to write. To read all the time would give up what holding back is for:
that a peer which does not read is not read from. To read only when TCP says that something is wrong costs nothing
while nothing is. It says so in three ways, none of which is proof alone:

- The charge of the receive buffer is above its size. Also after a segment that just fitted in, and then nothing is
  wrong.
- Something was dropped since. Also a probe of a peer whose window we have closed in order counts as dropped.
- What we repeat, or ask, is not answered (tcpi_retransmits, tcpi_probes). A peer that just does not read does answer,
  that its window is closed; one that is cut off answers too, but unheard. Also a path that has failed does not answer.
  It comes late: the time between two questions doubles (up to two minutes), and has done so since before the peer was
  cut off.

The first two together say that it is likely, the third with either that it is sure, as far as a process can see. To
read then lets one segment of the peer in, and with it what it has to say up to now. So each question that stays
unanswered is worth reading for once: if what we sent was lost too, only the next one brings an answer, and who has read
all that he may until then would not hear it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from echowire.kernel.connections.tcp_info import TCP_INFO

SO_MEMINFO = 55  # asm-generic/socket.h
MEMINFO = struct.Struct("@9I")
CHARGED, BUFFER, DROPS = 0, 1, 8  # SK_MEMINFO_RMEM_ALLOC, _RCVBUF and _DROPS (linux/sock_diag.h)
UNANSWERED = struct.Struct("@2xBB")  # struct tcp_info: tcpi_retransmits, tcpi_probes

RELIEF = 8
"""A window opens again when a sixteenth of the buffer is free (__tcp_select_window). Twice that is made free."""


class CutOff(IntEnum):
    """Whether TCP hears of its peer nothing any more."""

    NO = 0
    LIKELY = 1
    SURELY = 2


@dataclass(frozen=True, slots=True)
class Account:
    """What the kernel holds of what a TCP socket receives. Bytes are truesize.

    `charged` to the receive buffer, whose size is `buffer`; `drops`, segments thrown away since the socket was made;
    `unanswered`, how often TCP has repeated itself, or asked for the peer's window, without an answer.
    """

    charged: int
    buffer: int
    drops: int
    unanswered: int

    @property
    def relieved_at(self) -> int:
        """What must be charged at most for the window to open again, from what it is now."""
        return min(self.charged, self.buffer) - self.buffer // RELIEF

    @property
    def has_overrun(self) -> bool:
        """Whether more is charged than there is room for."""
        return self.charged > self.buffer

    def cut_off(self, before: Account) -> CutOff:
        """What this says of a connection that has sent nothing since the account `before`."""
        dropped = self.drops != before.drops
        # One question alone may just be on its way.
        if self.unanswered > before.unanswered and (self.has_overrun or (dropped and self.unanswered > 1)):
            return CutOff.SURELY
        return CutOff.LIKELY if self.has_overrun and dropped else CutOff.NO


def account_of(sock: socket.socket) -> Account | None:
    """The account of a TCP socket; None where the system keeps none that can be asked for."""
    try:
        memory = MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))
        repeated, asked = UNANSWERED.unpack(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, UNANSWERED.size))
    except (OSError, struct.error):
        return None
    return Account(memory[CHARGED], memory[BUFFER], memory[DROPS], repeated + asked)


def is_relieved(sock: socket.socket, at: int | None = None) -> bool:
    """Whether so much of a socket's receive buffer is free that its window opens: `at` most so much is charged."""
    account = account_of(sock)
    if account is None:
        return True
    return account.charged <= (account.buffer - account.buffer // RELIEF if at is None else at)
