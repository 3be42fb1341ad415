"""Two runs of `bench` side by side, the earlier one as the document that `--json` printed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echowire.core.schemas import document_head
from echowire.errors import UsageError


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two runs. `ratio` is after over before; None where either is unknown or before is 0."""

    name: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """After over before."""
        return self.after / self.before if self.before and self.after is not None else None


LARGEST_FIGURE = 1e300
"""Of a document that was not made here: two of them still have a ratio."""

COMPARED_FIGURES = ("echoes_per_s", "sent_bits_per_s", "received_bits_per_s", "loss", "jitter_us")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side. `differences` are what was asked for differently: then the ratios say less."""

    rows: tuple[Compared, ...]
    differences: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The comparison as a part of the document."""
        rows = {row.name: {"before": row.before, "after": row.after, "ratio": row.ratio} for row in self.rows}
        return {"figures": rows, "differences": list(self.differences)}


def check_document(document: Any) -> Mapping[str, Any]:
    """`document` itself, if it is one of `Report.document`. Raises `UsageError`."""
    head = document_head("bench")
    if not (
        isinstance(document, dict)
        and all(document.get(name) == value for name, value in head.items())
        and isinstance(document.get("endpoint"), str)
        and isinstance(document.get("supplied"), dict)
        and all(_is_figure(document.get(name)) for name in COMPARED_FIGURES)
        and all(_are_figures(document.get(part)) for part in ("latency_us", "uncorrected_latency_us"))
    ):
        raise UsageError(f"what to compare with is no document of echowire bench --json, version {head['version']}")
    return document


def _are_figures(values: Any) -> bool:
    return isinstance(values, dict) and all(map(_is_figure, values.values()))


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and abs(value) < LARGEST_FIGURE)  # NaN is not less
