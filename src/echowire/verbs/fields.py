"""The verb fields: the reference of every field, made of the tables that dissect it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from echowire.core.packets.registry import registry


@dataclass(frozen=True, slots=True)
class FieldReference:
    """What is to be known of a field, or of a protocol, to ask for it."""

    name: str
    label: str
    type: str
    """In the words of Wireshark's field reference."""
    protocol: str
    base: str
    """How its numbers are shown: `dec`, `hex`, …"""
    values: Mapping[int, str]
    """What its values are called."""
    other_names_of: tuple[str, ...]
    """The fields that it is another name for: `ip.addr` of `ip.src` and `ip.dst`."""


def fields(word: str = "") -> tuple[FieldReference, ...]:
    """All fields whose name, label or protocol has `word` in it, by name; the protocols themselves among them."""
    wanted = word.lower()
    found = []
    for name, described in sorted(registry().fields.items()):
        protocol, field = described[0]
        if not wanted or any(wanted in text.lower() for text in (name, field.label, protocol.title)):
            names = dict(field.names or {})
            found.append(
                FieldReference(name, field.label, field.type.value, protocol.title, field.base, names, field.either)
            )
    return tuple(found)
