"""An answer in words, and a target's figures as the cells of a table: for the summary and the live table alike."""

from __future__ import annotations

from typing import Any

from echowire import format_duration
from echowire.cli.common import printable

COLUMNS = ("Target", "Sent", "Recv", "Loss", "Min", "Mean", "p99", "Max", "StdDev", "Answer")


def describe(word: str, what: str, by: str, mtu: int | None = None) -> str:
    """`unreachable (host) by 10.0.0.1`, `too big by 10.0.0.1: MTU 1280`, `no route (ENETUNREACH)`."""
    said = word + (f" ({what})" if what else "")
    if by == "local":
        said += ", says this host" if word != "no route" else ""
    elif by and word not in ("reply", "refused"):
        said += f" by {by}"
    return said + (f": MTU {mtu}" if mtu else "")


def target_row(target: Any) -> tuple[str, ...]:
    """A target's cells: its name, counts, times, and the answer that came most often."""
    times = target.round_trips
    figures = (times.min_ns, times.mean_ns, times.percentile(99), times.max_ns, times.deviation_ns)
    loss = "" if target.loss is None else f"{100 * target.loss:.3g}%"
    word, what, by = max(target.answers, key=target.answers.__getitem__, default=("", "", ""))
    by = "" if word == "reply" else by
    return (
        printable(target.name),
        str(target.sent),
        str(target.received),
        loss,
        *("" if figure is None else nano(figure) for figure in figures),
        describe(word, what, by, target.mtu if word == "too big" else None),
    )


def nano(nanoseconds: float | None) -> str:
    """`12.3 µs`; `?` for None."""
    return format_duration(None if nanoseconds is None else nanoseconds / 1e9)
