"""What the walks over packets say for the packet list: the text of its columns Info and Protocol.

A walk says it as it goes (`say`, `call`); the protocol's `info` and `column` give it out (`infos`, `columns`).
"""

from __future__ import annotations

from collections.abc import Callable

from echowire.core.packets.layers import Layer
from echowire.core.packets.walk import Walk


def say(w: Walk, text: str) -> None:
    """Add to what the column Info says of this packet."""
    _said(w.layer).setdefault(w.entry, []).append(text)


def has_said(w: Walk) -> bool:
    """Whether anything was said of this packet."""
    return w.entry in _said(w.layer)


def call(w: Walk, name: str) -> None:
    """Set what the column Protocol says of this packet."""
    _called(w.layer)[w.entry] = name


def infos(separator: str = "") -> Callable[[Layer], list[str | None]]:
    """What was said of each entry, with this between its pieces; None where nothing was."""

    def of(layer: Layer) -> list[str | None]:
        said = _said(layer)
        return [separator.join(said[entry]) if entry in said else None for entry in range(len(layer))]

    return of


def columns(layer: Layer) -> list[str | None]:
    """What each entry was called; None where it was not."""
    called = _called(layer)
    return [called.get(entry) for entry in range(len(layer))]


def column_where_said(name: str) -> Callable[[Layer], list[str | None]]:
    """The protocol's name where anything was said."""
    return lambda layer: [name if entry in _said(layer) else None for entry in range(len(layer))]


def _said(layer: Layer) -> dict[int, list[str]]:
    return layer.once("said", dict[int, list[str]])


def _called(layer: Layer) -> dict[int, str]:
    return layer.once("called", dict[int, str])
