"""The verdict of a TCP conversation: where its time went, what that means, and the frames that prove it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from echowire.core.packets.tcp.header import ACK, RST, SYN
from echowire.core.reports.base import SECOND_NS
from echowire.core.reports.tcp.record import Segment, TcpRecord, TcpReport
from echowire.core.reports.tcp.waits import (
    BANDWIDTH,
    CAUSES,
    CLIENT,
    CLOSING,
    CONGESTION,
    DELAYED_ACK,
    FAST,
    HANDSHAKE,
    IDLE,
    MIN_LONG_NS,
    MS,
    ROUND_TRIP,
    SERVER,
    TIMEOUT,
    UNKNOWN,
    WINDOW,
    Wait,
    Waits,
)

CLEAN, REFUSED, RESET, SILENCE, UNANSWERED = "clean", "refused", "reset", "silence", "no answer"

TROUBLES = (WINDOW, FAST, TIMEOUT, DELAYED_ACK, CLIENT, SERVER, BANDWIDTH, CONGESTION)
"""What slows a conversation down. That some path is used up, or that somebody thinks, is only worth a word where it
takes most of the time."""

MIN_SHARE = 0.25
MIN_TROUBLE_NS = 100 * MS
"""A cause below this is not what anybody waits for: it is what people notice at all, and a process that was not run for
some turns of a busy host's scheduler is no fault of the conversation."""

MIN_STALL_NS = 30 * MS
"""Of a delayed acknowledgment, which is a fault each time, with a known remedy."""

MIN_REPEATS = 3
"""Segments sent again in a row without any answer, after which the path is taken for silent."""

OVERRUN = 2
"""A path that was used up for so many times as long as losses were made good for was overrun: they are how TCP finds
out how much it takes (RFC 5681, section 3.1)."""

SHOWN_SPANS = 20

ADVICE = {
    HANDSHAKE: "the connection was being set up",
    CLIENT: "the client had nothing to say: it worked, or waited for somebody else",
    SERVER: "the server worked on its answer, or waited for somebody else",
    WINDOW: "the receiver did not read as fast as the sender sent, and closed its window",
    CONGESTION: "the sender waited for acknowledgments before it sent more: its congestion window was the limit",
    BANDWIDTH: "bytes came as fast as the path, or the ends' processors, let them",
    FAST: "lost segments were sent again after duplicate or selective acknowledgments",
    TIMEOUT: "segments were lost, and sent again only when a timer ran out",
    DELAYED_ACK: "the sender waited for acknowledgments that the receiver held back (Nagle's algorithm meets delayed "
    "acknowledgments: write whole messages at once, or set TCP_NODELAY)",
    ROUND_TRIP: "bytes were on their way",
    IDLE: "nobody had anything to say",
    CLOSING: "the connection was being closed",
    UNKNOWN: "the capture does not tell, as it lost segments",
}


REFUSING = {
    "net": "there is no route to it",
    "host": "it does not answer there",
    "forbidden": "a firewall rejects it",
    "port": "a firewall rejects it, as a host itself refuses with RST",
    "protocol": "it does not speak TCP, or a firewall rejects it",
    "hops": "the way goes in circles, or is too long",
    "": "something on the way does not pass it on",
}
"""What an ICMP error means for a connection."""


@dataclass(slots=True)
class Span:
    """Waits one after the other of the same cause."""

    cause: str
    start_ns: int
    end_ns: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a conversation. The spans follow each other without a gap and add up to all its time."""

    name: str
    """Its main cause: one of `CAUSES`, or clean, refused, reset, silence, no answer."""
    sentence: str
    spans: list[Span]
    totals: dict[str, int]
    """Nanoseconds of each cause."""
    notes: list[str] = field(default_factory=list)

    @property
    def explained(self) -> float:
        """The share of the time whose cause is known."""
        whole = sum(self.totals.values())
        return 1.0 - self.totals.get(UNKNOWN, 0) / whole if whole else 1.0


def judge(record: TcpRecord) -> Verdict | None:
    """The verdict of a conversation; None where it was not met."""
    segments = record.segments()
    if not segments:
        return None
    waits = Waits(segments, record.mss)
    spans = _spans(waits.waits)
    totals = dict.fromkeys(CAUSES, 0)
    for span in spans:
        totals[span.cause] += span.end_ns - span.start_ns
    totals = {cause: took for cause, took in totals.items() if took}
    name, sentence = _unconnected(record, segments) or _named(segments, waits, spans, totals)
    return Verdict(name, sentence, spans, totals, [*_notes(record, segments, waits)])


def _spans(waits: Sequence[Wait]) -> list[Span]:
    spans: list[Span] = []
    for wait in waits:
        if spans and spans[-1].cause == wait.cause:
            spans[-1].end_ns, spans[-1].last_frame = wait.end_ns, wait.frame
        else:
            spans.append(Span(wait.cause, wait.start_ns, wait.end_ns, wait.first_frame, wait.frame))
    return spans


def _unconnected(record: TcpRecord, segments: Sequence[Segment]) -> tuple[str, str] | None:
    """Name and sentence where no connection came about; None where one did, or it was there before."""
    syns = [segment for segment in segments if segment.flags & SYN and not segment.flags & ACK]
    answers = [segment for segment in segments if segment.end == 1]
    if not syns or any(segment.flags & SYN for segment in answers):
        return None
    reset = next((segment for segment in answers if segment.flags & RST), None)
    if reset is not None:
        return REFUSED, (
            f"the server refused the connection (RST in frame {reset.frame}): nothing listens there, or a firewall "
            "rejects in its name"
        )
    if answers:
        return None
    refusal = next((refusal for refusal in record.refusals if refusal.kind != "size"), None)
    if refusal is not None:
        return REFUSED, (
            f"{refusal.source} refused the connection to {record.ends[1][0]} (ICMP {refusal.said} in frame "
            f"{refusal.frame}): {REFUSING[refusal.kind]}"
        )
    often = f"{len(syns)} times" if len(syns) > 1 else "once"
    where = f"frames {syns[0].frame} to {syns[-1].frame}" if len(syns) > 1 else f"frame {syns[0].frame}"
    return UNANSWERED, (
        f"{often} the client asked for a connection ({where}), and nothing came back: the server is not there, or a "
        "firewall drops"
    )


def _named(segments: Sequence[Segment], waits: Waits, spans: Sequence[Span], totals: dict[str, int]) -> tuple[str, str]:
    """The main cause, and the sentence."""
    resets = [segment for segment in segments if segment.flags & RST]
    if (silent := _silence(segments)) is not None:
        return SILENCE, silent
    loudest = max(TROUBLES, key=lambda cause: totals.get(cause, 0))
    whole = sum(totals.values())
    took = totals.get(loudest, 0)
    if resets and not all(side.has_fin for side in waits.sides):
        who = ("client", "server")[resets[0].end]
        return RESET, f"the {who} broke the connection off (RST in frame {resets[0].frame})" + _also(
            loudest, took, whole
        )
    repeated = sum(side.sent_again for side in waits.sides)
    recovering = totals.get(FAST, 0) + totals.get(TIMEOUT, 0)
    is_trouble = _is_trouble(loudest, took, whole)
    unknown = totals.get(UNKNOWN, 0)
    if unknown > took and _is_trouble(UNKNOWN, unknown, whole):
        return UNKNOWN, f"{_share(unknown, whole)} of {_seconds(whole)}: {ADVICE[UNKNOWN]}"
    overran = loudest == BANDWIDTH and is_trouble and took >= OVERRUN * recovering
    hides_loss = not is_trouble or loudest in (BANDWIDTH, CONGESTION)
    if repeated and not overran and (recovering >= MIN_SHARE * whole or hides_loss):
        loudest = max((FAST, TIMEOUT), key=lambda cause: totals.get(cause, 0))
        took = totals.get(loudest, 0)
    elif not is_trouble:
        most = max(totals, key=lambda cause: totals[cause], default=UNKNOWN)
        mostly = f", most of it {most}" if totals.get(most, 0) > whole / 2 else ""
        return CLEAN, f"nothing was lost, and nobody waited long: {_seconds(whole)} in all{mostly}"
    of_cause = (span for span in spans if span.cause == loudest)
    longest = max(of_cause, key=lambda span: span.end_ns - span.start_ns, default=None)
    where = f"; the longest time before frame {longest.last_frame}" if longest else ""
    if overran and repeated:
        where += f"; it was overrun at times, and {repeated} segments were sent again"
    advice = _window_advice(segments, waits) if loudest == WINDOW else ADVICE[loudest]
    return loudest, f"{_share(took, whole)} of {_seconds(whole)}: {advice}{where}"


def _window_advice(segments: Sequence[Segment], waits: Waits) -> str:
    """Whether the receiver did not read, or has too little room for a path as long as this."""
    trip = waits.round_trip_ns
    end = max((0, 1), key=lambda end: waits.sides[end].next)
    windows = [segment.window for segment in segments if segment.end != end and not segment.flags & (SYN | RST)]
    if trip < MIN_LONG_NS or not windows or min(windows) < waits.sides[end].segment:
        return ADVICE[WINDOW]
    most = max(windows)
    return (
        f"the receiver's window, {most} bytes at most, is too small for a round trip of {_seconds(trip)}: no more than "
        f"{8 * most * SECOND_NS / trip / 1e6:.3g} Mbit/s fit through (a larger SO_RCVBUF, or none, which grows)"
    )


def _is_trouble(cause: str, took: int, whole: int) -> bool:
    return took >= (MIN_STALL_NS if cause == DELAYED_ACK else MIN_TROUBLE_NS) and took >= MIN_SHARE * whole


def _silence(segments: Sequence[Segment]) -> str | None:
    """What to say where one end went on and never heard anything again."""
    last = segments[-1]
    after = 0
    for segment in reversed(segments):
        if segment.end != last.end:
            break
        after += 1
    tail = [segment for segment in segments[-after:] if segment.stop > segment.seq]
    again = len(tail) - len({segment.seq for segment in tail})
    if again < MIN_REPEATS:
        return None
    who, other = (("client", "server"), ("server", "client"))[last.end]
    heard = "never" if after == len(segments) else f"last in frame {segments[-after - 1].frame}"
    return (
        f"the {who} sent the same bytes {again} times more, and the {other} was heard {heard}: it is gone, or "
        "something on the way drops everything since then (a firewall, a lost route)"
    )


def _notes(record: TcpRecord, segments: Sequence[Segment], waits: Waits) -> Iterator[str]:
    for end, who in enumerate(("client", "server")):
        side = waits.sides[end]
        if side.sent_again:
            yield f"{side.sent_again} segments of the {who} were sent again"
        if side.for_nothing:
            yield (
                f"{side.for_nothing} segments of the {who} were sent again as their acknowledgment was late, and had "
                "come: nothing was lost there"
            )
        if side.unseen:
            yield (
                f"{side.unseen} bytes of the {who} were acknowledged and never seen: the capture lost them, not the "
                "network"
            )
        allowed = record.mss[1 - end]
        if allowed and side.full > allowed:
            yield (
                f"segments of the {who} are longer than the {allowed} bytes that may be sent at once: it was captured "
                "before they were cut, or after they were joined, by the network card (segmentation offload)"
            )
    if not any(segment.flags & SYN for segment in segments):
        yield "the handshake is not in the capture: windows are shown unscaled, and who is the client is a guess"
    first_of_each = {(refusal.source, refusal.said): refusal for refusal in reversed(record.refusals)}
    for refusal in first_of_each.values():
        yield f"{refusal.source} answered with an ICMP error in frame {refusal.frame}: {refusal.said}"
    if record.copies:
        yield f"{record.copies} packets are in the capture twice, and were looked at once"
    if record.left_out:
        yield f"{record.left_out} segments more were not looked at"


def _also(cause: str, took: int, whole: int) -> str:
    if not _is_trouble(cause, took, whole):
        return ""
    return f"; before that, {_share(took, whole)} of {_seconds(whole)}: {ADVICE[cause]}"


def _share(took: int, whole: int) -> str:
    return f"{100 * took / whole:.0f} %" if whole else "0 %"


def _seconds(time_ns: int) -> str:
    if time_ns < SECOND_NS:
        return f"{time_ns / MS:.3g} ms"
    return f"{time_ns / SECOND_NS:.3f} s"


class VerdictReport(TcpReport):
    """The report `-z verdict,STREAM`."""

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where the stream was not met."""
        return judge(self._record)

    def text(self, width: int) -> Iterator[str]:
        """The sentence, the causes with their shares, and the longest spans."""
        verdict = self.verdict
        yield self.title
        if verdict is None:
            return
        yield f"Verdict: {verdict.name}. {verdict.sentence[:1].upper()}{verdict.sentence[1:]}."
        yield from (f"Note: {note}." for note in verdict.notes)
        whole = sum(verdict.totals.values())
        yield ""
        for cause, took in sorted(verdict.totals.items(), key=lambda total: -total[1]):
            bar = "#" * round(max(0, width - 60) * took / whole) if whole else ""
            yield f"{cause:<24}{took / SECOND_NS:12.6f} s {_share(took, whole):>6}  {bar}".rstrip()
        yield ""
        begin = verdict.spans[0].start_ns if verdict.spans else 0
        longest = sorted(verdict.spans, key=lambda span: span.start_ns - span.end_ns)[:SHOWN_SPANS]
        for span in sorted(longest, key=lambda span: span.start_ns):
            at = f"{(span.start_ns - begin) / SECOND_NS:12.6f} {(span.end_ns - begin) / SECOND_NS:12.6f}"
            yield f"{at}  {span.cause:<24}frames {span.first_frame} to {span.last_frame}"
        if len(verdict.spans) > SHOWN_SPANS:
            yield f"[{len(verdict.spans) - SHOWN_SPANS} shorter spans more]"

    def document(self) -> dict[str, Any]:
        """As data."""
        verdict = self.verdict
        out: dict[str, Any] = {"report": "verdict", "stream": self._record.stream, "verdict": None}
        if verdict is None:
            return out
        names = ("cause", "start_ns", "end_ns", "first_frame", "last_frame")
        return out | {
            "client": list(self._record.ends[0]),
            "server": list(self._record.ends[1]),
            "verdict": verdict.name,
            "sentence": verdict.sentence,
            "explained": verdict.explained,
            "totals_ns": verdict.totals,
            "notes": verdict.notes,
            "spans": [{name: getattr(span, name) for name in names} for span in verdict.spans],
        }
