"""The reports `-z ladder`, `-z sequence` and `-z rtt`: the pictures of a TCP conversation, as text, as SVG, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from echowire.core.reports.tcp.ladder import Ladder, lines
from echowire.core.reports.tcp.pictures import ladder_svg, round_trip_svg, sequence_svg
from echowire.core.reports.tcp.record import TcpReport


class LadderReport(TcpReport):
    """The report. `form` is `text`, or the picture that its text is as SVG: `ladder`, `sequence` or `rtt`."""

    def __init__(self, stream: int, form: str = "text") -> None:
        super().__init__(stream)
        self.form = form

    def text(self, width: int) -> Iterator[str]:
        """Two lines an arrow: what it is, and the states that it leaves the ends in, where they change; or SVG."""
        if not self._record.ends:
            yield self.title
            return
        segments = self._record.segments()
        if self.form == "sequence":
            yield from sequence_svg(segments, self.title)
            return
        if self.form == "rtt":
            yield from round_trip_svg(segments, self.title)
            return
        arrows = Ladder(segments).arrows
        if self.form == "ladder":
            yield from ladder_svg(arrows, self.title)
            return
        yield self.title
        yield from lines(arrows, width)
        if self._record.left_out:
            yield f"[{self._record.left_out} segments more are not drawn]"

    def document(self) -> dict[str, Any]:
        """As data: the arrows in order."""
        arrows = Ladder(self._record.segments()).arrows
        names = ("time_ns", "last_ns", "first_frame", "last_frame", "seq", "ack", "window", "length", "count", "mark")
        return {
            "report": "ladder",
            "stream": self._record.stream,
            "ends": [{"host": host, "port": port} for host, port in self._record.ends],
            "arrows": [
                {"from": ("client", "server")[one.end], "flags": one.flag_names}
                | {name: getattr(one, name) for name in names}
                | {"client_calls": one.calls[0], "server_calls": one.calls[1]}
                | {"client_state": one.states[0], "server_state": one.states[1]}
                for one in arrows
            ],
        }
