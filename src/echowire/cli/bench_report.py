"""What `echowire bench` prints: a live line and a summary for people, one JSON document, or a line an interval.

The live line is drawn by this process, which only waits; the load is in others and does not notice.
"""

from __future__ import annotations

from typing import Any

from echowire import Endpoint, Measurement, document_head, format_duration, format_size
from echowire.cli.common import Environment, printable
from echowire.cli.histogram import histogram_lines
from echowire.cli.run_report import RunReport

PERCENTILES = (50, 90, 99, 99.9, 99.99)

SHORT_INTERVAL_S = 0.95
"""In a shorter one, whole seconds would stand still on the live line."""

PACED_BY = {
    "kernel": ", spaced by the kernel",
    "bucket": ", in pieces a millisecond apart",
    "reading": ", by reading no faster",
}
"""How a rate of bytes is kept: by TCP itself (SO_MAX_PACING_RATE), by this program, or by making the peer wait."""

CLEAR = "\r\x1b[K"
"""To the start of the line, and erase it (ECMA-48)."""


class Report(RunReport):
    """Told of each interval and of the end; prints what the options ask for."""

    def __init__(self, env: Environment, options: dict[str, Any], endpoint: Endpoint) -> None:
        super().__init__(env, options, document_head("bench"), endpoint=endpoint.url)
        self._is_plain = env.variables.get("TERM") == "dumb"
        self._is_live = env.stderr.isatty() and not self._is_plain and not env.variables.get("NO_COLOR")
        self._line_is_drawn = False

    def close(self) -> None:
        """Erase the live line."""
        if self._line_is_drawn:
            self.env.stderr.write(CLEAR)
            self.env.stderr.flush()
            self._line_is_drawn = False

    def interval(self, interval: Any) -> None:
        """An interval has passed."""
        self.event("interval", interval.document())
        if self._is_live:
            self.env.stderr.write(CLEAR + _live_line(interval))
            self.env.stderr.flush()
            self._line_is_drawn = True

    def conclude(self, measured: Measurement) -> None:
        """The measurement has ended."""
        env = self.env
        if not self.for_people:
            self.conclude_json(measured.document())
        else:
            histogram = histogram_lines(measured.latency, plain=self._is_plain)
            for line in [*_summary(measured), *histogram, *_judgement(measured), *_comparison(measured)]:
                env.answer(line)
        for text, count in measured.failures.items():
            times = f" ({count} times)" if count > 1 else ""
            env.say(f"echowire: {printable(text)}{times}")
        if measured.no_reply and not measured.failures:
            env.say(f"echowire: bench {measured.endpoint}: no reply")
        elif measured.no_echo and not measured.failures:
            came = format_size(measured.outcomes.received_bytes)
            what = "and no message whole" if measured.outcomes.partial else "which are not what was sent"
            env.say(f"echowire: bench {measured.endpoint}: no echo: {came} came back, {what}")
        self.say_conditions(measured.conditions)


def _live_line(interval: Any) -> str:
    parts = ["warming up"] if interval.omitted else []
    digits = 0 if interval.seconds > SHORT_INTERVAL_S else 1
    parts.append(f"{interval.start_s + interval.seconds:.{digits}f} s")
    if interval.outcomes.echoed:
        parts.append(f"{_number(interval.echoes_per_s)} echoes/s")
        parts += [f"{name} {_micro(value)}" for name, value in (("p50", interval.p50_us), ("p99", interval.p99_us))]
    else:
        figures = interval.document()
        for name in ("sent", "received"):
            if (bits := figures[f"{name}_bits_per_s"]) is not None:
                parts.append(f"{name} {_bits(bits)}")
    return "   ".join([*parts, f"{interval.errors} errors"])


def _summary(measured: Measurement) -> list[str]:
    lines = [_what(measured), ""]
    rates = []
    if measured.echoes_per_s is not None:
        rates.append(f"{_number(measured.echoes_per_s)} echoes/s")
    if measured.sent_bits_per_s is not None:
        rates.append(f"sent {_bits(measured.sent_bits_per_s)}")
    if measured.received_bits_per_s is not None:
        rates.append(f"received {_bits(measured.received_bits_per_s)}")
    if rates and measured.rate_kept is not None:
        rates.append(f"{measured.rate_kept:.2%} of the rate asked for")
    nothing = "no reply" if measured.no_reply else "nothing was measured: it ended while it warmed up"
    lines.append("  " + ("   ".join(rates) if rates and not measured.no_reply else nothing))
    if counts := _counts(measured):
        lines.append("  " + ", ".join(counts))
    if measured.latency.count:
        title = "Round trip from when it was due" if measured.uncorrected.count else "Round trip"
        lines += _percentiles(title, measured.latency)
    if measured.uncorrected.count:
        lines += _percentiles("Round trip from when it was sent", measured.uncorrected)
    if measured.lateness.count:
        lines += _percentiles("Lateness of the sender", measured.lateness)
    if measured.jitter_s is not None:
        lines.append(f"  Jitter (RFC 3550): {format_duration(measured.jitter_s)}")
    return lines


def _what(measured: Measurement) -> str:
    asked = measured.supplied
    least, most = asked["least_size"], asked["most_size"]
    size = format_size(most) if least == most else f"{format_size(least)} to {format_size(most)}"
    many = f"{asked['connections']} connection{'s' if asked['connections'] != 1 else ''}"
    how = {"send": "sending only", "receive": "receiving only", "both": "both ways"}.get(measured.direction)
    if how is not None and asked["bits_per_s"]:
        how += f" at {_bits(asked['bits_per_s'])} on each"
        how += PACED_BY.get(measured.effective["paced_by"], "")
    elif how is not None and measured.direction == "receive" and not measured.is_stream:
        how = "asking for datagrams" + (f", {asked['rate']:.10g} a second" if asked["rate"] else "")
    elif how is not None and asked["rate"]:
        how += f" at {asked['rate']:.10g} datagrams/s"
    if how is None and asked["rate"]:
        how = f"open loop, {asked['rate']:.10g} messages/s{' (Poisson)' if asked['poisson'] else ''}"
    how = how or f"closed loop, {asked['pipeline']} in flight on each"
    took = format_duration(measured.seconds) if measured.seconds else "no time"
    ended = {"interrupted": ", interrupted", "failed": ", ended by a failure"}.get(measured.ended, "")
    return f"{measured.effective['remote']}: {many}, {size}, {how}, {took}{ended}"


def _counts(measured: Measurement) -> list[str]:
    counts = measured.document()["counts"]
    shown = ("sent", "echoed", "corrupted", "truncated", "lost", "unanswered", "duplicated", "reordered", "late")
    named = [f"{counts[name]} {name}" for name in shown if counts[name] is not None]
    if counts["partial"]:
        named[named.index(f"{counts['unanswered']} unanswered")] += f" ({counts['partial']} had come in part)"
    if measured.direction == "send" and measured.outcomes.received_bytes:
        named.append(f"{format_size(measured.outcomes.received_bytes)} came back: this is no sink")
    if counts["unexpected"]:
        named.append(f"{counts['unexpected']} unexpected")
    if measured.loss:
        named.append(f"{measured.loss:.3%} loss")
    is_source = measured.direction == "receive"  # to which nothing is sent, but over datagrams what asks
    sizes = (("out", counts["sent_bytes"]), ("in", counts["received_bytes"]))
    named += [f"{format_size(size)} {way}" for way, size in sizes if size is not None and (size or not is_source)]
    if (compared := counts["compared_bytes"]) is not None and counts["received_bytes"]:
        is_all = compared == counts["received_bytes"]
        how_much = "each byte" if is_all else format_size(compared) if compared else "not"
        named.append(f"{how_much} compared{'' if compared else ': it is not the pattern of RFC 864'}")
    return named


def _percentiles(title: str, histogram: Any) -> list[str]:
    named = [f"min {_nano(histogram.min_ns)}", f"mean {_nano(histogram.mean_ns)}"]
    named += [f"p{percent:g} {_nano(histogram.percentile(percent))}" for percent in PERCENTILES]
    return [f"  {title}:", f"    {'  '.join([*named, f'max {_nano(histogram.max_ns)}'])}"]


def _judgement(measured: Measurement) -> list[str]:
    cpu, limit = measured.cpu, measured.limit
    shares = (("client", cpu.client), ("server", cpu.server), ("this host", cpu.host))
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares if share is not None)
    lines = ["", f"  Processor: {said}"] if said else [""]
    lines.append(f"  Limit: {limit.by or 'not known'} ({limit.why})")
    if limit.by == "client":
        lines.append("  THIS MEASURED THE CLIENT, not the server: take the figures as what the server does at least")
    return lines


def _comparison(measured: Measurement) -> list[str]:
    comparison = measured.compare()
    if comparison is None:
        return []
    lines = ["", f"  {'':28} {'before':>14} {'now':>14} {'now/before':>11}"]
    for row in comparison.rows:
        ratio = "?" if row.ratio is None else f"{row.ratio:.3f}"
        lines.append(f"  {row.name:28} {_figure(row.before):>14} {_figure(row.after):>14} {ratio:>11}")
    return [*lines, *(f"  asked differently: {difference}" for difference in comparison.differences)]


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _nano(nanoseconds: float | None) -> str:
    return format_duration(None if nanoseconds is None else nanoseconds / 1e9)


def _micro(microseconds: float | None) -> str:
    return format_duration(None if microseconds is None else microseconds / 1e6)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bits(bits_per_s: float) -> str:
    """`1.29 Gbit/s`: decimal units."""
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits_per_s >= factor:
            return f"{bits_per_s / factor:.3g} {unit}"
    return f"{bits_per_s:.3g} bit/s"
