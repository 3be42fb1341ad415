"""An answer in words, and a target's figures as the cells of a table: for the summary and the live table alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from echowire import format_duration
from echowire.cli.common import printable

COLUMNS = ("Target", "Sent", "Recv", "Loss", "Min", "Mean", "p99", "Max", "StdDev", "Answer")

WORDS = ("Target", "Answer", "Address", "Note")
"""Columns of words, set to the left; those of numbers are set to the right."""

LEAVING = ("StdDev", "Min", "Last", "p99", "Max", "Mean", "Answer")
"""Columns that go where a line is too short for all, in this order: what was sent and lost stays to the last."""


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
    deviation = times.deviation_ns if times.count > 1 else None
    figures = (times.min_ns, times.mean_ns, times.percentile(99), times.max_ns, deviation)
    loss = "" if target.loss is None else f"{100 * target.loss:.3g}%"
    return (
        printable(target.name),
        str(target.sent),
        str(target.received),
        loss,
        *("" if figure is None else nano(figure) for figure in figures),
        answers_said(target),
    )


def answers_said(target: Any) -> str:
    """The answers that there were, the most telling first, each with its share: `filtered by 10.0.0.1 3, no reply 25`.

    What a router or this host said tells more than a reply, and that more than none.
    """
    shares: dict[str, int] = {}
    for (word, what, by), count in sorted(target.answers.items(), key=_telling):
        said = describe(word, what, "" if word == "reply" else by, target.mtu if word == "too big" else None)
        shares[said] = shares.get(said, 0) + count
    if len(shares) == 1:
        return next(iter(shares))
    return ", ".join(f"{said} {count:,}" for said, count in shares.items())


def _telling(answer: tuple[tuple[str, str, str], int]) -> tuple[int, int]:
    (word, _, _), count = answer
    return {"reply": 1, "no reply": 2}.get(word, 0), -count


@lru_cache(maxsize=64)  # of one probe the least, the mean and the largest are the same
def nano(nanoseconds: float | None) -> str:
    """`12.3 µs`; `?` for None."""
    return format_duration(None if nanoseconds is None else nanoseconds / 1e9)


HOP_COLUMNS = ("Hop", "Address", "Loss", "Sent", "Last", "Mean", "Best", "Worst", "StdDev", "Note")
"""mtr's, and what is to be said of the hop."""

HOPS_LEAVING = ("StdDev", "Best", "Last", "Worst", "Mean", "Note", "Sent")
"""As `LEAVING`."""


def hop_rows(path: Any) -> list[tuple[str, ...]]:
    """The cells of each hop, and a row for each further address that answered it."""
    rows: list[tuple[str, ...]] = []
    for hop, judged in path.judged:
        times, addresses = hop.round_trips, hop.addresses or ["???"]
        notes = [describe(word, what, "") for word, what in hop.said]
        notes += ["rate limited"] if judged.rate_limited else ["silent"] if judged.silent else []
        notes += ["address translated"] if judged.translated else []
        notes += [f"the reset came from hop {judged.reset_by}"] if judged.reset_by else []
        figures = (hop.last_ns, times.mean_ns, times.min_ns, times.max_ns, times.deviation_ns)
        loss = "" if hop.loss is None else f"{100 * hop.loss:.3g}%"
        rows.append(
            (
                *(str(hop.number), addresses[0], loss, str(hop.sent)),
                *("" if figure is None else nano(figure) for figure in figures),
                ", ".join(notes),
            )
        )
        rows += [("", address, *[""] * (len(HOP_COLUMNS) - 2)) for address in addresses[1:]]
    return rows


def aligned(rows: Sequence[Sequence[str]], words: Sequence[int]) -> list[str]:
    """Rows as lines, each column as wide as its widest cell; those in `words` set to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    form = "  ".join(f"{{:{'<' if column in words else '>'}{width}}}" for column, width in enumerate(widths))
    return [form.format(*row).rstrip() for row in rows]
