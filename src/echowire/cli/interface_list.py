"""The interfaces on which packets can be captured, as `echowire capture -D` lists them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import echowire
from echowire import NetworkInterface


def interface_lines(interfaces: Sequence[NetworkInterface]) -> Iterator[str]:
    """A line each: number, name, state, rate, addresses."""
    rows = [
        (
            f"{number}. {one.name}",
            "loopback" if one.is_loopback else "up" if one.is_up else "down",
            rate(one.bits_per_s),
            " ".join(one.addresses) or one.mac,
        )
        for number, one in enumerate(interfaces, 1)
    ]
    rows.append((f"{len(rows) + 1}. any", "", "", "all interfaces at once"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, state, speed, addresses in rows:
        yield f"{name:<{widths[0]}}  {state:<{widths[1]}}  {speed:>{widths[2]}}  {addresses}".rstrip()


def _described(interface: NetworkInterface) -> dict[str, Any]:
    return asdict(interface) | {"mac": interface.mac or None}


def interfaces_document(interfaces: Sequence[NetworkInterface]) -> dict[str, Any]:
    """The same as one document; `number` is what -i takes too, and `bits_per_s` null where nobody knows."""
    every: dict[str, Any] = {
        "name": "any",
        "state": None,
        "is_up": True,
        "is_loopback": False,
        "addresses": [],
        "bits_per_s": None,
    }
    found: list[dict[str, Any]] = [*map(_described, interfaces), every | {"mac": None}]
    numbered = [{"number": number} | one for number, one in enumerate(found, 1)]
    return {**echowire.document_head("interfaces"), "interfaces": numbered}


def rate(bits_per_s: int | None) -> str:
    """A link's rate: `10 Gbit/s`; nothing where it is not known."""
    if bits_per_s is None:
        return ""
    for factor, unit in ((1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s")):
        if bits_per_s >= factor:
            return f"{bits_per_s / factor:g} {unit}"
    return f"{bits_per_s} bit/s"
