"""All protocols and fields by name, and the tables in which one protocol finds the next: made of `protocols/`.

Adding a protocol is adding a file there, or a folder, with its `PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import MappingProxyType

from echowire.core.nearest import nearest
from echowire.core.packets import protocols
from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Protocol, present
from echowire.errors import UsageError

ROOT = "frame"
"""The protocol of the whole packet, in which all others lie."""

UNKNOWN = "data"
"""What bytes are of which no protocol is known."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All that is known. Made once; see `registry`."""

    protocols: Mapping[str, Protocol]
    fields: Mapping[str, tuple[tuple[Protocol, Field], ...]]
    """Each field's name, and where it is described: in several protocols, if they share it."""
    tables: Mapping[str, Mapping[int, Protocol]]
    guesses: Mapping[str, tuple[Protocol, ...]]
    """Protocols to be guessed, by the table that did not know."""

    def needed(self, names: Iterable[str]) -> frozenset[str]:
        """The protocols that must be dissected to know these fields: theirs, and all that they may lie in."""
        wanted: set[str] = set()
        for name in self.resolved(names):
            for protocol, field in self.fields[name]:
                if field.whole:
                    return frozenset(self.protocols)
                wanted.add(protocol.name)
        reached = _closure(self._nexts(), wanted)
        return frozenset(reached | {ROOT})

    def tables_of(self, needed: Collection[str]) -> frozenset[str] | None:
        """The tables by which one of these protocols can be found; None for all, as what is in no table is data."""
        if UNKNOWN in needed:
            return None
        by_key = {name for name, table in self.tables.items() if any(one.name in needed for one in table.values())}
        by_guess = {name for name, some in self.guesses.items() if any(one.name in needed for one in some)}
        return frozenset(by_key | by_guess)

    def resolved(self, names: Iterable[str]) -> tuple[str, ...]:
        """The fields themselves, where one is another name for some (`ip.addr`)."""
        found: dict[str, None] = {}
        for name in names:
            here = self.described(name)
            either = [one for _, field in here for one in field.either]
            found |= dict.fromkeys(either or [name])
        return tuple(found)

    def described(self, name: str) -> tuple[tuple[Protocol, Field], ...]:
        """A field's descriptions. Raises `UsageError`, with the nearest name, for one that is not known."""
        here = self.fields.get(name)
        if here is None:
            near = nearest(name, self.fields)
            hint = f"; did you mean {near}?" if near else ""
            raise UsageError(f"there is no field '{printable_name(name)}'{hint}")
        return here

    def _nexts(self) -> dict[str, set[str]]:
        """For each protocol those that may follow it directly."""
        into = {
            name: {one.name for one in table.values()} | {one.name for one in self.guesses.get(name, ())}
            for name, table in self.tables.items()
        }
        return {
            protocol.name: {one for table in protocol.tables for one in into.get(table, ())} | {UNKNOWN}
            for protocol in self.protocols.values()
        }


def _closure(nexts: Mapping[str, set[str]], wanted: set[str]) -> set[str]:
    """`wanted`, and every protocol from which one of them can be reached."""
    before: dict[str, set[str]] = {}
    for outer, inner in nexts.items():
        for one in inner:
            before.setdefault(one, set()).add(outer)
    reached, queue = set(wanted), list(wanted)
    while queue:
        for outer in before.get(queue.pop(), set()) - reached:
            reached.add(outer)
            queue.append(outer)
    return reached


def printable_name(name: str) -> str:
    """A name that somebody typed, for an error's one line."""
    return "".join(c for c in name[:80] if c.isprintable())


@cache
def registry() -> Registry:
    """All protocols of `echowire.core.packets.protocols`."""
    known: dict[str, Protocol] = {}
    for module in sorted(one.name for one in walk_packages(protocols.__path__, f"{protocols.__name__}.")):
        for protocol in getattr(import_module(module), "PROTOCOLS", ()):
            if protocol.name in known:
                raise ValueError(f"two protocols are called {protocol.name}")
            known[protocol.name] = protocol
    return Registry(MappingProxyType(known), _fields(known), _tables(known), _guesses(known))


def _fields(known: Mapping[str, Protocol]) -> Mapping[str, tuple[tuple[Protocol, Field], ...]]:
    found: dict[str, tuple[tuple[Protocol, Field], ...]] = {}
    for protocol in known.values():
        itself = Field(protocol.name, protocol.title, Type.PROTOCOL, make=present)
        mine = protocol.fields if protocol.name in {one.name for one in protocol.fields} else (itself, *protocol.fields)
        for field in mine:
            found[field.name] = (*found.get(field.name, ()), (protocol, field))
    return MappingProxyType(found)


def _tables(known: Mapping[str, Protocol]) -> Mapping[str, Mapping[int, Protocol]]:
    found: dict[str, dict[int, Protocol]] = {}
    for protocol in known.values():
        for table, key in protocol.keys:
            if key in found.setdefault(table, {}):
                raise ValueError(f"{table} {key} is both {found[table][key].name} and {protocol.name}")
            found[table][key] = protocol
    return MappingProxyType(found)


def _guesses(known: Mapping[str, Protocol]) -> Mapping[str, tuple[Protocol, ...]]:
    found: dict[str, tuple[Protocol, ...]] = {}
    for protocol in known.values():
        for table in protocol.guess_in:
            found[table] = (*found.get(table, ()), protocol)
    return MappingProxyType(found)
