"""The picture of a TCP conversation, as data: arrows between client and server, what each end did, and its states.

One arrow is a segment, or a run of like segments of one end. Beside it stand the socket calls that the ends must have
made for it to be sent, and the state in which it leaves each end (RFC 9293, section 3.3.2). What is lost on the way is
not told from what the capture has not: a state is that of an end which received all that was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from echowire.core.packets.tcp.header import ACK, FIN, PSH, RST, SYN
from echowire.core.reports.base import SECOND_NS
from echowire.core.reports.tcp.record import Segment

CLOSED, LISTEN, SYN_SENT, SYN_RECV, ESTAB = "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECV", "ESTAB"
FIN_WAIT_1, FIN_WAIT_2, CLOSING, TIME_WAIT = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT"
CLOSE_WAIT, LAST_ACK = "CLOSE-WAIT", "LAST-ACK"

FLAG_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"))

SENT_FIN = {ESTAB: FIN_WAIT_1, SYN_RECV: FIN_WAIT_1, CLOSE_WAIT: LAST_ACK}
GOT_FIN = {ESTAB: CLOSE_WAIT, SYN_RECV: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT}
FIN_ACKED = {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED}
"""What a state becomes by a FIN sent, by one received, and by the acknowledgment of one's own."""


@dataclass(slots=True)
class Arrow:
    """A segment, or several like ones."""

    end: int
    """0 if the client sent it."""
    time_ns: int
    last_ns: int
    first_frame: int
    last_frame: int
    flags: int
    seq: int
    ack: int
    window: int
    length: int
    """Bytes of all its segments."""
    count: int = 1
    mark: str = ""
    """`sent again`, `gap before` (segments that were not seen), `zero window`, or nothing."""
    calls: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    """What client and server did before it, or because of it."""
    states: tuple[str, str] = (CLOSED, CLOSED)
    """States of client and server after it."""

    @property
    def flag_names(self) -> str:
        """`SYN, ACK`."""
        return ", ".join(name for bit, name in FLAG_NAMES if self.flags & bit)


class Ladder:
    """The arrows of a conversation: of all its segments, or of those that are added as they come."""

    def __init__(self, segments: Sequence[Segment] = (), *, joined: bool = True, started: bool | None = None) -> None:
        """`started`: its handshake is among the segments; None if `segments` show that."""
        if started is None:
            started = any(one.flags & SYN for one in segments)
        self.states = [CLOSED, LISTEN] if started else [ESTAB, ESTAB]
        self._joined = joined
        self._next = [0, 0]
        self._fin: list[int | None] = [None, None]
        self._unread = [False, False]
        """Whether an end was sent something that it has not been seen to read."""
        self.arrows: list[Arrow] = []
        for one in segments:
            self.add(one)

    def add(self, one: Segment) -> None:
        """The next segment: one more arrow, or one more of the last arrow's run."""
        arrow = self._arrow(one)
        if not (self._joined and self._joins(arrow)):
            self.arrows.append(arrow)

    def settled(self) -> list[Arrow]:
        """The arrows which do not change any more, all but the last; they are forgotten here."""
        done = self.arrows[:-1]
        del self.arrows[:-1]
        return done

    def settle(self) -> list[Arrow]:
        """All arrows, forgotten here: the next segment begins a new one."""
        done, self.arrows = self.arrows, []
        return done

    def skip(self) -> None:
        """Some segments were not seen: what is missing then is no gap."""
        self._next = [0, 0]

    def _arrow(self, one: Segment) -> Arrow:
        mark = self._mark(one)
        calls = self._calls(one, mark)
        self._move(one)
        self._next[one.end] = max(self._next[one.end], one.stop)
        states = (self.states[0], self.states[1])
        return Arrow(
            one.end, one.time_ns, one.time_ns, one.frame, one.frame, one.flags, one.seq, one.ack, one.window,
            one.length, mark=mark, calls=calls, states=states,
        )  # fmt: skip

    def _mark(self, one: Segment) -> str:
        expected = self._next[one.end]
        if expected and one.stop > one.seq and one.seq < expected:
            return "sent again"
        if expected and one.seq > expected:
            return "gap before"
        if one.window == 0 and not one.flags & RST:
            return "zero window"
        return ""

    def _calls(self, one: Segment, mark: str) -> tuple[list[str], list[str]]:
        """The calls that this segment tells of."""
        calls: tuple[list[str], list[str]] = ([], [])
        mine, other = calls[one.end], calls[1 - one.end]
        if mark == "sent again":
            return calls
        if one.flags & SYN:
            mine.append("connect" if not one.flags & ACK else "listen")
        elif one.end == 0 and self.states[1] == SYN_RECV:
            mine.append("connect returns")
            other.append("accept")
        if one.length:
            if self._unread[one.end]:
                mine.append("recv")
                self._unread[one.end] = False
            mine.append("send")
            self._unread[1 - one.end] = True
        if one.flags & FIN:
            mine.append("shutdown or close")
            other.append("recv gives 0")
        if one.flags & RST:
            refused = self.states[0] == SYN_SENT
            mine.append("nobody listens" if refused else "close with unread data, or SO_LINGER 0")
            other.append("ECONNREFUSED" if refused else "ECONNRESET")
        return calls

    def _move(self, one: Segment) -> None:
        """The states after a segment."""
        states, mine, other = self.states, one.end, 1 - one.end
        if one.flags & RST:
            states[:] = [CLOSED, CLOSED]
            return
        if one.flags & SYN:
            states[mine] = SYN_RECV if one.flags & ACK else SYN_SENT
            if one.flags & ACK:
                states[other] = ESTAB if states[other] == SYN_SENT else states[other]
            return
        if one.flags & ACK:
            if states[other] == SYN_RECV:
                states[other] = ESTAB
            fin = self._fin[other]
            if fin is not None and one.ack > fin:
                states[other] = FIN_ACKED.get(states[other], states[other])
                self._fin[other] = None
        if one.flags & FIN and states[mine] in SENT_FIN:
            self._fin[mine] = one.stop - 1
            states[mine] = SENT_FIN[states[mine]]
            states[other] = GOT_FIN.get(states[other], states[other])

    def _joins(self, arrow: Arrow) -> bool:
        """Whether the arrow is one more of the last one's run, which it is then added to."""
        if not self.arrows:
            return False
        last = self.arrows[-1]
        plain = SYN | FIN | RST
        like = (last.end, last.mark, last.states, last.length > 0) == (
            arrow.end, arrow.mark, arrow.states, arrow.length > 0,
        )  # fmt: skip
        if not like or (last.flags | arrow.flags) & plain or "recv" in arrow.calls[arrow.end]:
            return False
        last.last_ns, last.last_frame, last.ack, last.window = arrow.time_ns, arrow.last_frame, arrow.ack, arrow.window
        last.length += arrow.length
        last.count += 1
        last.flags |= arrow.flags
        return True


TIME_WIDTH = 14
MIN_WIDTH = 80
"""Columns from which calls are shown."""


class LadderText:
    """The ladder for a terminal, two lines an arrow: time, the client's calls and state, the arrow, the server's state
    and calls. On fewer than `MIN_WIDTH` columns, without calls.
    """

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._states = ("", "")

    def head(self, width: int) -> str:
        """The line above."""
        side, middle = _widths(width)
        return f"{'seconds':>{TIME_WIDTH - 2}}  {'client':>{side}} {'':{middle}} server"[: max(width, 1)]

    def rows(self, one: Arrow, width: int, *, settled: bool = True) -> tuple[str, str]:
        """What the next arrow is, and the states that it leaves the ends in, where they change. One that is not
        `settled` may be asked for again.
        """
        side, middle = _widths(width)
        begin = one.time_ns if self._begin_ns is None else self._begin_ns
        seconds = f"{(one.time_ns - begin) / SECOND_NS:{TIME_WIDTH - 2}.6f}"
        states = [state if state != was else "" for state, was in zip(one.states, self._states, strict=True)]
        calls = [", ".join(names) for names in one.calls] if width >= MIN_WIDTH else ["", ""]
        if settled:
            self._begin_ns, self._states = begin, one.states
        said = f"{seconds}  {calls[0][:side]:>{side}} {_centred(one, middle)} {calls[1]}"
        drawn = f"{'':{TIME_WIDTH}}{states[0]:>{side}} {_shaft(one, middle)} {states[1]}"
        return said[:width].rstrip(), drawn[:width].rstrip()


def lines(arrows: Sequence[Arrow], width: int) -> Iterator[str]:
    """The ladder of all arrows."""
    text = LadderText()
    yield text.head(width)
    for one in arrows:
        yield from text.rows(one, width)


def _widths(width: int) -> tuple[int, int]:
    """Columns at the client's side, and of the arrow."""
    side = max(len("connect returns"), (width - TIME_WIDTH) // 5) if width >= MIN_WIDTH else 12
    return side, max(20, width - TIME_WIDTH - 2 * side - 2)


def _centred(one: Arrow, width: int) -> str:
    bytes_ = f" {one.length} bytes" if one.length else ""
    run = f" x{one.count}" if one.count > 1 else ""
    numbers = f" seq {one.seq}" + (f" ack {one.ack}" if one.flags & ACK else "")
    text = f"{one.flag_names or 'no flags'}{run}{bytes_}{numbers}"
    return text[:width].center(width)


def _shaft(one: Arrow, width: int) -> str:
    label = f" {one.mark} " if one.mark else ""
    line = label.center(width - 1, "x" if one.mark == "sent again" else "-")[: width - 1]
    return f"{line}>" if one.end == 0 else f"<{line}"
