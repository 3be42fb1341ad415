"""The ladder of what is being captured: arrows as their segments come, of the conversation that speaks.

Its memory does not grow: of each of the last `MAX_CONVERSATIONS` it keeps the state and the arrow that may still get
longer. Where arrows come faster than anybody reads, some are passed over: first those that tell nothing but that it
goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from echowire.core.packets.dissect import Packets
from echowire.core.packets.tcp.header import FIN, RST, SYN
from echowire.core.reports.follow import TCP_FIELDS, packets_of
from echowire.core.reports.tcp.ladder import Arrow, Ladder, LadderText
from echowire.core.reports.tcp.record import Numbering, Raw, raw_of, title_of

MAX_CONVERSATIONS = 64
"""Whose states are kept; one that has not spoken for so many others begins anew, as if met in the middle."""

MAX_WAITING = 10_000
"""Arrows that wait to be drawn; beyond that the oldest are passed over."""


@dataclass(slots=True, eq=False)
class Pictured:
    """A conversation, as far as it was met."""

    title: str
    """Who talks to whom."""
    numbering: Numbering
    ladder: Ladder
    text: LadderText = field(default_factory=LadderText)


class LiveLadder:
    """Feed it packets as they come, and ask it for lines."""

    fields: Sequence[str] = TCP_FIELDS
    """The fields that a capture needs for it."""

    def __init__(self) -> None:
        self.passed_over = 0
        """Arrows that were not drawn."""
        self._known: dict[int, Pictured] = {}
        self._speaking: Pictured | None = None
        self._drawn: Pictured | None = None
        self._waiting: list[tuple[Pictured, Arrow]] = []
        self._unseen = 0

    def feed(self, packets: Packets) -> None:
        """The packets of a chunk."""
        for packet in packets_of(packets, "tcp"):
            raw = raw_of(packet)
            one = self._conversation(packet.stream, raw)
            if one is not self._speaking:
                self._settle()
                self._speaking = one
            one.ladder.add(one.numbering.segment(raw))
            self._waiting += [(one, arrow) for arrow in one.ladder.settled()]
        if len(self._waiting) > MAX_WAITING:
            self.passed_over += len(self._waiting) - MAX_WAITING
            del self._waiting[:-MAX_WAITING]

    def skip(self, count: int) -> None:
        """So many packets were not looked at: nothing is known to be missing that may be among them."""
        self._settle()
        self._unseen += count
        for one in self._known.values():
            one.ladder.skip()

    def end(self) -> None:
        """No more come: the last arrow does not change any more."""
        self._settle()
        self._speaking = None

    def lines(self, width: int, most: int) -> list[str]:
        """The lines of the arrows that are finished, each once; of no more than `most` arrows."""
        waiting, self._waiting = self._waiting, []
        chosen = _telling([arrow for _, arrow in waiting], most)
        out = [f"[{self._unseen} packets not looked at]"[:width]] if self._unseen else []
        hidden = self._unseen = 0
        for at, (one, arrow) in enumerate(waiting):
            if at not in chosen:
                hidden += 1
                continue
            if hidden:
                out.append(f"[{hidden} arrows passed over]"[:width])
                self.passed_over += hidden
                hidden = 0
            out += self._above(one, width)
            self._drawn = one
            out += one.text.rows(arrow, width)
        if hidden:
            out.append(f"[{hidden} arrows passed over]"[:width])
            self.passed_over += hidden
        return out

    def growing(self, width: int) -> list[str]:
        """The lines of the arrow that may get longer; nothing before the first."""
        one = self._speaking
        if one is None or not one.ladder.arrows:
            return []
        return [*self._above(one, width), *one.text.rows(one.ladder.arrows[-1], width, settled=False)]

    def _above(self, one: Pictured, width: int) -> list[str]:
        """The lines above a conversation's arrows, if it was not its arrow that was drawn last."""
        if one is self._drawn:
            return []
        return [*([""] if self._drawn else []), one.title[:width], one.text.head(width)]

    def _settle(self) -> None:
        """Let the arrow of who spoke last be finished."""
        if self._speaking is not None:
            self._waiting += [(self._speaking, arrow) for arrow in self._speaking.ladder.settle()]

    def _conversation(self, stream: int, raw: Raw) -> Pictured:
        one = self._known.pop(stream, None)
        if one is None:
            client = raw.client
            server = raw.destination if client == raw.source else raw.source
            ladder = Ladder(started=bool(raw.head[13] & SYN))
            one = Pictured(title_of(stream, (client, server)), Numbering(client), ladder)
            if len(self._known) >= MAX_CONVERSATIONS:
                del self._known[next(iter(self._known))]
        self._known[stream] = one  # the last is who spoke last
        return one


def _telling(arrows: Sequence[Arrow], most: int) -> set[int]:
    """Which arrows are drawn if not all can be: a connection's begin and end, what is marked, and the newest."""
    if len(arrows) <= most:
        return set(range(len(arrows)))
    telling = [at for at, one in enumerate(arrows) if one.mark or one.flags & (SYN | FIN | RST)]
    telling = telling[-(most // 2) :]
    newest = [at for at in range(len(arrows) - most, len(arrows)) if at not in telling]
    return {*telling, *newest[len(telling) - most :]}
