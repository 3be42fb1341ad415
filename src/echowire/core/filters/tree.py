"""What a display filter says, as a tree: made by `echowire.core.filters.parse`, compiled by
`echowire.core.filters.packet_filter`.

Its leaves are tests of one packet: some operands, each of as many values as the packet has of it, and a comparison
that must hold of any of them, or of every one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from echowire.core.packets.layers import Field

Kind: TypeAlias = Literal[
    "number", "float", "time", "duration", "ipv4", "ipv6", "ether", "bytes", "text", "protocol", "none"
]
"""What can be compared with each other. `number` is integers and booleans; `ether` and `protocol` become `bytes`."""

Value: TypeAlias = int | float | str | bytes

Relation: TypeAlias = Literal["==", "!=", ">", "<", ">=", "<=", "contains", "matches"]


@dataclass(frozen=True, slots=True)
class Range:
    """First and last of the places meant, both included; negative ones count from the end, None is the end."""

    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class FieldValues:
    """All values that a packet has of a field; of some layers only, where `layers` says which, from 1."""

    name: str
    kind: Kind
    field: Field
    layers: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the filter; of a network, the first and the last address."""

    kind: Kind
    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Slice:
    """Some bytes, or characters of a text, of each value that has all of them."""

    of: Operand
    kind: Kind
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two operands of numbers, or `&` of two of bytes. None where there is no result, as of a division by zero."""

    sign: Literal["+", "-", "*", "/", "%", "&"]
    left: Operand
    right: Operand
    kind: Kind


@dataclass(frozen=True, slots=True)
class Call:
    """A function of each value (len, upper, lower, string, abs), or of all values together (count, min, max)."""

    name: str
    arguments: tuple[Operand, ...]
    kind: Kind


Operand: TypeAlias = FieldValues | Constant | Slice | Arithmetic | Call


@dataclass(frozen=True, slots=True)
class Present:
    """That there is a value; of arithmetic, one that is not zero."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Compare:
    """That a relation holds of any pair of values, or of every pair, and there is one."""

    relation: Relation
    left: Operand
    right: Operand
    every: bool = False


@dataclass(frozen=True, slots=True)
class Among:
    """That any value, or every one, lies in one of the ranges."""

    operand: Operand
    ranges: tuple[tuple[Constant, Constant], ...]
    every: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """That it does not hold."""

    of: Filter


@dataclass(frozen=True, slots=True)
class Joined:
    """Some filters, joined by the same sign."""

    sign: Literal["&&", "||", "^^"]
    parts: tuple[Filter, ...]


Test: TypeAlias = Present | Compare | Among
Filter: TypeAlias = Test | Not | Joined


def fields_of(tree: Filter | Operand) -> frozenset[str]:
    """The names of all fields that a filter asks for."""
    match tree:
        case FieldValues():
            return frozenset({tree.name})
        case Constant():
            return frozenset()
        case Slice() | Not():
            return fields_of(tree.of)
        case Call():
            return frozenset().union(*map(fields_of, tree.arguments))
        case Joined():
            return frozenset().union(*map(fields_of, tree.parts))
        case Present() | Among():
            return fields_of(tree.operand)
        case _:
            return fields_of(tree.left) | fields_of(tree.right)
