"""What stands in a display filter to be compared with a field, as a value of that field's kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address, IPv6Address

from echowire.core.filters.syntax import Token
from echowire.core.filters.tree import Constant, Kind, Value
from echowire.core.packets.columns import INTS, SIZES, Type
from echowire.core.packets.layers import Field

KINDS: Mapping[Type, Kind] = {
    Type.PROTOCOL: "protocol",
    Type.NONE: "none",
    Type.FLOAT: "float",
    Type.DOUBLE: "float",
    Type.ETHER: "ether",
    Type.EUI64: "ether",
    Type.IPV4: "ipv4",
    Type.IPV6: "ipv6",
    Type.ABSOLUTE_TIME: "time",
    Type.RELATIVE_TIME: "duration",
    Type.STRING: "text",
    Type.GUID: "text",
    Type.OID: "text",
    Type.BYTES: "bytes",
}
"""Of all types but the numbers."""

LARGEST = (1 << 64) - 1

NS_PER_S = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]+|0[bB][01]+|[0-9]+")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?:[ T]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9})\d*)?)?)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
_ISO_TIME = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})" + _CLOCK, re.IGNORECASE)
_NAMED_TIME = re.compile(r"([A-Za-z]{3})\s+(\d{1,2}),?\s+(\d{4})" + _CLOCK, re.IGNORECASE)


class LiteralError(ValueError):
    """It is no value of that kind; says why."""


def kind_of(field: Field) -> Kind:
    """What a field's values can be compared with."""
    return KINDS.get(field.type, "number")


def constant(token: Token, kind: Kind, field: Field | None = None, *, negative: bool = False) -> Constant:
    """The value of a literal. `field` is what it is compared with, where that is a field: it knows names, and limits.

    Raises `LiteralError`.
    """
    if negative and kind not in ("number", "float", "duration", "time"):
        raise LiteralError(f"a value of {field.type.value if field else kind} has no sign")
    if kind == "number":
        value: Value = _number(token, field, negative)
        return Constant(kind, value, value)
    if kind in ("ipv4", "ipv6"):
        low, high = _addresses(token, kind)
        return Constant(kind, low, high)
    made = _MAKERS[kind](token, field)
    if negative and isinstance(made, int | float):
        made = -made
    return Constant("bytes" if kind in ("protocol", "none") else kind, made, made)


def _number(token: Token, field: Field | None, negative: bool) -> int:
    value = _named(token, field)
    if value is None:
        if token.kind == "character":
            value = ord(token.value)
        elif token.kind == "string":
            known = field is not None and field.names
            why = "is not among the names of its values" if known else "cannot be compared with a text"
            raise LiteralError(
                f"{field.name if field else 'a number'} {why}" if not known else f'"{token.value}" {why}'
            )
        elif _NUMBER.fullmatch(token.value):
            value = _integer(token.value)
        else:
            raise LiteralError(f'"{token.value}" is not a valid number')
    if value > LARGEST:
        raise LiteralError(f'"{token.text}" is more than 64 bits hold')
    value = -value if negative else value
    if field is not None:
        _check_limits(token, field, value)
        if field.type is Type.BOOLEAN:
            return int(value != 0)
    return value


def _named(token: Token, field: Field | None) -> int | None:
    """The number that a name of a value stands for."""
    if field is None or token.kind == "character":
        return None
    if field.type is Type.BOOLEAN and token.value.lower() in ("true", "false"):
        return int(token.value.lower() == "true")
    if field.names and not _NUMBER.fullmatch(token.value):
        wanted = token.value.lower()
        return next((number for number, name in field.names.items() if name.lower() == wanted), None)
    return None


def _integer(text: str) -> int:
    if text[:1] == "0" and text.isdigit() and len(text) > 1:
        try:
            return int(text, 8)
        except ValueError:
            raise LiteralError(f'"{text}" is not a valid number: one that begins with 0 is octal') from None
    return int(text, 0)


def _check_limits(token: Token, field: Field, value: int) -> None:
    bits = 8 * SIZES[field.type]
    if field.type is Type.BOOLEAN:
        return
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if field.type in INTS else (0, (1 << bits) - 1)
    if value > high:
        raise LiteralError(f'"{token.text}" too big for this field, maximum {high}')
    if value < low:
        raise LiteralError(f'"-{token.text}" too small for this field, minimum {low}')


def _addresses(token: Token, kind: Kind) -> tuple[Value, Value]:
    """The first and the last address: the same, unless it is a network."""
    what, size = ("IPv4", 32) if kind == "ipv4" else ("IPv6", 128)
    if token.kind != "word":
        raise LiteralError(f"an {what} address is written without quotes")
    host, slash, prefix = token.value.partition("/")
    try:
        number = int(IPv4Address(host) if kind == "ipv4" else IPv6Address(host))
    except ValueError:
        raise LiteralError(f'"{token.value}" is not a valid {what} address') from None
    bits = int(prefix) if slash else size
    if bits > size:
        raise LiteralError(f"a network's prefix has at most {size} bits, not {bits}")
    mask = (1 << size - bits) - 1
    low, high = number & ~mask, number | mask
    return (low, high) if kind == "ipv4" else (low.to_bytes(16, "big"), high.to_bytes(16, "big"))


def _float(token: Token, field: Field | None) -> float:
    try:
        return float(token.value)
    except ValueError:
        raise LiteralError(f'"{token.text}" is not a valid number') from None


def _text(token: Token, field: Field | None) -> str:
    return token.value


def _duration(token: Token, field: Field | None) -> int:
    try:
        return _nanoseconds(Decimal(token.value) * NS_PER_S)
    except (InvalidOperation, ValueError, OverflowError):
        raise LiteralError(f'"{token.value}" is not a valid number of seconds') from None


def _time(token: Token, field: Field | None) -> int:
    if field is not None and field.base == "epoch" and re.fullmatch(r"[0-9.]+", token.value):
        return _duration(token, field)
    found = _ISO_TIME.fullmatch(token.value.strip())
    named = None if found else _NAMED_TIME.fullmatch(token.value.strip())
    example = 'an example is "2011-07-04 12:34:56.789" or "Nov 12, 1999 08:55:44"'
    if found:
        year, month, day, *clock = found.groups()
    elif named and named[1].lower() in _MONTHS:
        month, day, year, *clock = named.groups()
        month = str(_MONTHS.index(month.lower()) + 1)
    else:
        raise LiteralError(f'"{token.value}" is not a valid time; {example}')
    hour, minute, second, part, zone = clock
    try:
        moment = datetime(*map(int, (year, month, day, hour or 0, minute or 0, second or 0)), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError as error:
        raise LiteralError(f'"{token.value}" is not a valid time: {error}') from None
    if zone and zone[0] in "+-":
        away = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        moment -= away if zone[0] == "+" else -away
    return _nanoseconds((moment - EPOCH) // timedelta(seconds=1) * NS_PER_S + int((part or "0").ljust(9, "0")))


def _nanoseconds(found: Decimal | int) -> int:
    """A time that a column of nanoseconds can hold."""
    if not abs(Decimal(found)) <= LARGEST >> 1:
        raise LiteralError("times are from 1678 to 2262")
    return int(found)


def _bytes(token: Token, field: Field | None) -> bytes:
    if token.kind != "word":
        return token.value.encode("utf-8", "surrogateescape")
    digits = token.value
    if re.fullmatch(r"[0-9A-Fa-f]{1,2}([:.\-][0-9A-Fa-f]{1,2})*[:.\-]?", digits):
        return bytes(int(pair, 16) for pair in re.split(r"[:.\-]", digits) if pair)
    digits = re.sub(r"[:.\-]", "", digits)
    if re.fullmatch(r"([0-9A-Fa-f]{2})+", digits):
        return bytes.fromhex(digits)
    if _NUMBER.fullmatch(digits) and _integer(digits) < 256:
        return bytes([_integer(digits)])
    raise LiteralError(f'"{token.value}" is not a valid byte string')


def _ether(token: Token, field: Field | None) -> bytes:
    size = SIZES[field.type] if field is not None else 6
    if token.kind != "word":
        raise LiteralError("a hardware address is written without quotes")
    found = _bytes(token, field)
    if len(found) != size:
        raise LiteralError(f'"{token.value}" has {len(found)} bytes, and this address {size}')
    return found


_MAKERS: Mapping[Kind, Callable[[Token, Field | None], Value]] = {
    "float": _float,
    "text": _text,
    "duration": _duration,
    "time": _time,
    "bytes": _bytes,
    "protocol": _bytes,
    "none": _bytes,
    "ether": _ether,
}
