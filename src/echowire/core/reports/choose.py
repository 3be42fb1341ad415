"""The reports by their names, as after `-z`: `conv,tcp`, `io,stat,1,udp`, `follow,tcp,ascii,0`.

Each report's module is imported when it is asked for: of a short reading, all of them would be a good part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from echowire.core.reports.base import Report
from echowire.core.reports.conversation_report import ConversationReport, EndpointReport
from echowire.core.reports.conversations import KINDS, Kind
from echowire.errors import UsageError


def report(text: str) -> Report:
    """The report that `text` names. Raises `UsageError`, and `FilterError` for its filter."""
    for name, make in _MAKERS.items():
        if text == name or text.startswith(f"{name},"):
            return make(text[len(name) + 1 :])
    raise UsageError(f"-z {text}: no such report; there are {', '.join(_MAKERS)}")


def _counted(make: Callable[[Kind, str], Report]) -> Callable[[str], Report]:
    def made(rest: str) -> Report:
        kind, _, filter_text = rest.partition(",")
        if kind not in KINDS:
            raise UsageError(f"conversations and endpoints are counted of {', '.join(KINDS)}, not {kind or 'nothing'}")
        return make(KINDS[kind], filter_text)

    return made


def _io_stat(rest: str) -> Report:
    from echowire.core.reports.io_stat import IoStat

    interval, *columns = rest.split(",")
    return IoStat(interval, columns)


def _follow(rest: str) -> Report:
    from echowire.core.reports.follow_report import MODES, Follow

    protocol, mode, stream = _words(rest, 3)
    if protocol not in ("tcp", "udp") or mode not in MODES or not stream.isdecimal() or len(stream) > MAX_DIGITS:
        raise UsageError(f"follow,{rest}: follow,tcp|udp,{'|'.join(MODES)},STREAM, where STREAM is a tcp.stream")
    return Follow(protocol, mode, int(stream))


def _expert(rest: str) -> Report:
    from echowire.core.reports.expert import SEVERITIES, Expert

    first, _, filter_text = rest.partition(",")
    if first in SEVERITIES:
        return Expert(first, filter_text)
    return Expert("chat", rest)


def _flow(rest: str) -> Report:
    from echowire.core.reports.flow import Flow

    what, form, more = _words(rest, 3)
    if what not in ("any", "tcp", "udp", "icmp", "icmpv6") or form not in ("", "standard", "network") or more:
        raise UsageError(f"flow,{rest}: flow,any|tcp|udp|icmp|icmpv6[,standard|network]")
    return Flow(what, form or "standard")


def _verdict(rest: str) -> Report:
    from echowire.core.reports.tcp.verdict import VerdictReport

    return VerdictReport(_stream("verdict", rest))


def _ladder(rest: str) -> Report:
    from echowire.core.reports.tcp.ladder_report import LadderReport

    stream, _, form = rest.partition(",")
    if form not in ("", "svg"):
        raise UsageError(f"ladder,{rest}: ladder[,STREAM[,svg]]")
    return LadderReport(_stream("ladder", stream), "ladder" if form else "text")


def _picture(name: str) -> Callable[[str], Report]:
    def made(rest: str) -> Report:
        from echowire.core.reports.tcp.ladder_report import LadderReport

        return LadderReport(_stream(name, rest), name)

    return made


def _stream(name: str, rest: str) -> int:
    """The number of a stream, 0 where none is given."""
    if rest and (not rest.isdecimal() or len(rest) > MAX_DIGITS):
        raise UsageError(f"{name},{rest}: {name}[,STREAM], where STREAM is a tcp.stream")
    return int(rest or 0)


def _words(rest: str, count: int) -> Sequence[str]:
    words = rest.split(",", count - 1)
    return words + [""] * (count - len(words))


MAX_DIGITS = 15
"""Of the number of a stream: more conversations than any capture has."""

_MAKERS: Mapping[str, Callable[[str], Report]] = {
    "conv": _counted(ConversationReport),
    "endpoints": _counted(EndpointReport),
    "io,stat": _io_stat,
    "follow": _follow,
    "expert": _expert,
    "flow": _flow,
    "verdict": _verdict,
    "ladder": _ladder,
    "sequence": _picture("sequence"),
    "rtt": _picture("rtt"),
}
