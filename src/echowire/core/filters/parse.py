"""Display filters, in Wireshark 4.0's language (wireshark-filter(4)): their text to a tree of what is meant.

    filter    := filter ("||" | "^^" | "&&") filter | "!" filter | "(" filter ")" | test
    test      := ["any" | "all"] operand relation operand [relation operand …]
               | ["any" | "all"] operand ["not"] "in" "{" item ["," item …] "}" | operand
    item      := operand [".." operand]
    operand   := operand ("&" | "+" | "-" | "*" | "/" | "%") operand | "-" operand | "{" operand "}"
               | function "(" operand ["," operand …] ")" | ["."] field ["#" layers] ["[" ranges "]"] | [":"] literal

`||` binds least, then `^^`, `&&` and `!`; `&` binds less than `+`, and that less than `*`. `==` and the relations of
order hold if they hold of any value that a packet has of a field, `!=` if it has some and all differ; `===` and `!==`
are of every and of any. A dot in front says that a field is meant, and a colon that bytes are, where a word could be
both (`frame contains :ab`). Types are checked here; literals become values of the field that they are compared with.
What Wireshark 4.0 refuses and its later versions understand (`xor`, brackets around arithmetic) is taken too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from echowire.core.filters.functions import FUNCTIONS
from echowire.core.filters.literals import LiteralError, constant, kind_of
from echowire.core.filters.ranges import RangeError, layer_ranges, slice_ranges
from echowire.core.filters.regex import BeyondLinearError, compiled
from echowire.core.filters.syntax import Token, tokens
from echowire.core.filters.tree import (
    Among,
    Arithmetic,
    Call,
    Compare,
    Constant,
    FieldValues,
    Filter,
    Joined,
    Kind,
    Not,
    Operand,
    Present,
    Range,
    Relation,
    Slice,
    Test,
    fields_of,
)
from echowire.core.nearest import nearest
from echowire.core.packets.registry import printable_name, registry

MAX_DEPTH = 50
"""Brackets, signs and negations within each other, and operands in a row: each is some calls within a call."""

BINDING: tuple[Literal["||", "^^", "&&"], ...] = ("||", "^^", "&&")
ARITHMETIC = (("&",), ("+", "-"), ("*", "/", "%"))
"""The least binding first."""

RELATIONS: dict[str, tuple[Relation, bool]] = {
    "==": ("==", False),
    "!=": ("!=", True),
    "===": ("==", True),
    "!==": ("!=", False),
    ">": (">", False),
    "<": ("<", False),
    ">=": (">=", False),
    "<=": ("<=", False),
    "contains": ("contains", False),
    "matches": ("matches", False),
}
"""Each sign's relation, and whether it must hold of every value."""

BYTES: frozenset[Kind] = frozenset({"bytes", "ether", "protocol"})
SLICED: frozenset[Kind] = BYTES | {"ipv4", "ipv6", "text"}
COUNTED: frozenset[Kind] = frozenset({"number", "float", "time", "duration"})
"""What one can reckon with."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A literal of which is not yet known what it is compared with."""

    token: Token
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """An operand, or a whole filter in brackets, and where it stands."""

    what: Operand | Raw | Filter
    token: Token


@dataclass(frozen=True, slots=True)
class DisplayFilter:
    """A display filter, and what it says, for who keeps it until it is applied."""

    text: str
    tree: Filter = field(repr=False)

    @classmethod
    def of(cls, text: str) -> DisplayFilter:
        """The filter `text`. Raises `FilterError`, which says where it is wrong."""
        return cls(text, parse_filter(text))


def parse_filter(text: str) -> Filter:
    """The tree of a display filter. Raises `FilterError`, which says where it is wrong."""
    parser = _Parser(text)
    return parser.whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    # What stands there

    @property
    def _next(self) -> Token:
        """The token that is to be taken next."""
        return self._tokens[self._at]

    def _is_over(self) -> bool:
        return self._at == len(self._tokens) - 1

    def _take(self) -> Token:
        token = self._next
        self._at += not self._is_over()
        return token

    def _is(self, *signs: str) -> bool:
        return self._next.kind == "operator" and self._next.value in signs

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            self._unexpected(f"; '{sign}' is wanted")
        self._take()

    def _fail(self, token: Token, message: str) -> NoReturn:
        raise token.error(message, self._text)

    def _unexpected(self, wanted: str = "") -> NoReturn:
        if self._is_over():
            self._fail(self._next, f"the filter ends too soon{wanted}")
        self._fail(self._next, f"'{printable_name(self._next.text)}' was unexpected here{wanted}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(self._next, f"more than {MAX_DEPTH} levels within each other")

    # Filters

    def whole(self) -> Filter:
        """All of it."""
        if self._is_over():
            self._unexpected()
        found = self._filter()
        if not self._is_over():
            self._unexpected()
        return self._as_filter(found)

    def _filter(self, level: int = 0) -> Placed:
        """What is joined by the signs of `BINDING[level]`, and by those that bind more."""
        if level == len(BINDING):
            return self._negated()
        found, sign = self._filter(level + 1), BINDING[level]
        if not self._is(sign):
            return found
        parts = [self._as_filter(found)]
        while self._is(sign):
            self._take()
            parts.append(self._as_filter(self._filter(level + 1)))
        return Placed(Joined(sign, tuple(parts)), found.token)

    def _negated(self) -> Placed:
        if not self._is("!"):
            return self._test()
        token = self._take()
        self._deeper()
        found = Placed(Not(self._as_filter(self._negated())), token)
        self._depth -= 1
        return found

    def _as_filter(self, placed: Placed) -> Filter:
        """An operand alone: that it is there."""
        what = placed.what
        if isinstance(what, Raw):
            self._no_field(what.token)
        if isinstance(what, Call):
            self._fail(placed.token, "what a function gives must be compared with something")
        if isinstance(what, Constant):
            self._fail(placed.token, "a value alone is no test")
        return self._asked(Present(what), placed) if isinstance(what, FieldValues | Slice | Arithmetic) else what

    def _test(self) -> Placed:
        quantifier = self._take().value if self._is("any", "all") else ""
        left = self._operand()
        if isinstance(left.what, Present | Compare | Among | Not | Joined):
            return left
        negated = False
        if self._is("!") and self._tokens[self._at + 1].value == "in":
            negated = bool(self._take())
        if self._is("in"):
            self._take()
            found: Filter = self._among(left, every=quantifier == "all")
            return Placed(Not(found) if negated else found, left.token)
        tests = []
        while self._is(*RELATIONS):
            sign = self._take()
            right = self._operand()
            tests.append(self._compare(left, sign, right, quantifier))
            left = right
        if not tests:
            if quantifier:
                self._unexpected("; 'any' and 'all' are said of a comparison")
            return left
        return Placed(tests[0] if len(tests) == 1 else Joined("&&", tuple(tests)), left.token)

    def _compare(self, left: Placed, sign: Token, right: Placed, quantifier: str) -> Filter:
        relation, every = RELATIONS[sign.value]
        every = quantifier == "all" if quantifier else every
        for side in (left, right):
            if isinstance(side.what, Present | Compare | Among | Not | Joined):
                self._fail(side.token, "a test cannot be compared")
        if isinstance(left.what, Raw) and isinstance(right.what, Raw | Constant):
            self._no_field(left.what.token)
        if relation in ("contains", "matches"):
            return self._search(left, relation, right, every)
        a, b = self._alike(left, right)
        if "none" in (a.kind, b.kind):
            self._fail(left.token, "it has no value that could be compared; only that it is there can be asked")
        return self._asked(Compare(relation, a, b, every), left)

    def _asked(self, test: Test, placed: Placed) -> Test:
        """`test`, if it asks for a field: what is made of numbers alone is the same for every packet."""
        if not fields_of(test):
            self._fail(placed.token, "it is reckoned without any field of a packet")
        return test

    def _search(self, left: Placed, relation: Relation, right: Placed, every: bool) -> Filter:
        what = left.what
        if isinstance(what, Raw):
            self._no_field(what.token)
        operand = self._value(left)
        if operand.kind not in BYTES | {"text"}:
            self._fail(left.token, f"'{relation}' is asked of texts and bytes, not of a {operand.kind}")
        if relation == "contains":
            kind: Kind = "text" if operand.kind == "text" else "bytes"
            found = self._value(right, kind) if isinstance(right.what, Raw) else self._value(right)
            if (found.kind == "text") != (kind == "text"):
                self._fail(right.token, f"a {found.kind} cannot be looked for in a {operand.kind}")
            return Compare(relation, operand, found, every)
        if not isinstance(right.what, Raw):
            self._fail(right.token, "'matches' wants a regular expression in quotes")
        pattern = right.what.token.value
        try:
            compiled(pattern)
        except BeyondLinearError as error:
            self._fail(right.token, f"'matches' takes no longer than its text is long, and so {error}")
        except ValueError as error:
            self._fail(right.token, f"this is no regular expression: {error}")
        return Compare(relation, operand, Constant("text", pattern, pattern), every)

    def _among(self, left: Placed, every: bool) -> Filter:
        if isinstance(left.what, Raw):
            self._no_field(left.what.token)
        operand = self._value(left)
        self._expect("{")
        ranges = []
        while True:
            low = high = self._item(operand)
            if self._is(".."):
                self._take()
                high = self._item(operand)
            ranges.append((low, high))
            if not self._is(","):
                break
            self._take()
        self._expect("}")
        return self._asked(Among(operand, tuple(ranges), every), left)

    def _item(self, like: Operand) -> Constant:
        placed = self._operand()
        if not isinstance(placed.what, Raw):
            self._fail(placed.token, "only values stand between { and }")
        return self._literal(placed.what, like.kind, _field(like))

    # Operands

    def _operand(self, level: int = 0) -> Placed:
        """What is joined by the signs of `ARITHMETIC[level]`, and by those that bind more."""
        if level == len(ARITHMETIC):
            return self._signed()
        left, depth = self._operand(level + 1), self._depth
        while self._is(*ARITHMETIC[level]):
            self._deeper()
            sign = self._take()
            right = self._operand(level + 1)
            a, b = self._alike(left, right, free=True)
            allowed = COUNTED if sign.value != "&" else COUNTED | BYTES | {"ipv4"}
            for one, side in ((a, left), (b, right)):
                if one.kind not in allowed:
                    self._fail(side.token, f"'{sign.text}' is not for a {one.kind}")
            kind: Kind = "bytes" if a.kind in BYTES else a.kind
            left = Placed(Arithmetic(sign.value, a, b, kind), left.token)  # type: ignore[arg-type]
        self._depth = depth
        return left

    def _signed(self) -> Placed:
        if not self._is("-", "+"):
            return self._primary()
        sign = self._take()
        self._deeper()
        placed = self._signed()
        self._depth -= 1
        if sign.value == "+":
            return placed
        if isinstance(placed.what, Raw):
            return Placed(Raw(placed.what.token, not placed.what.negative), placed.token)
        operand = self._value(placed)
        if operand.kind not in COUNTED:
            self._fail(placed.token, f"'-' is not for a {operand.kind}")
        return Placed(Arithmetic("-", Constant("number", 0, 0), operand, operand.kind), placed.token)

    def _primary(self) -> Placed:
        token = self._take()
        if token.kind == "operator" and token.value in ("(", "{"):
            self._deeper()
            found = self._filter() if token.value == "(" else self._operand()
            self._expect(")" if token.value == "(" else "}")
            self._depth -= 1
            return Placed(found.what, token)
        if token.kind in ("string", "character"):
            return Placed(Raw(token), token)
        if token.kind != "word":
            self._at -= token.kind != "end"
            self._unexpected()
        if self._is("("):
            return Placed(self._call(token), token)
        return self._sliced(token)

    def _sliced(self, token: Token) -> Placed:
        """A field, which some layers and a part may be chosen of; a literal, if no field is called so."""
        name = token.value.removeprefix(".")
        known = registry().fields.get(name)
        if known is None:
            if self._next.kind in ("slice", "layer") or name != token.value:
                self._no_field(token)
            return Placed(Raw(token), token)
        operand: Operand = FieldValues(name, kind_of(known[0][1]), known[0][1])
        if self._next.kind == "layer":
            layers = self._ranges(layer_ranges)
            operand = FieldValues(name, kind_of(known[0][1]), known[0][1], layers)
        return Placed(self._slices(operand, token), token)

    def _slices(self, operand: Operand, token: Token) -> Operand:
        depth = self._depth
        while self._next.kind == "slice":
            self._deeper()
            if operand.kind not in SLICED:
                self._fail(token, f"'{token.text}' is a {operand.kind} and has no bytes to take a part of")
            operand = Slice(operand, "text" if operand.kind == "text" else "bytes", self._ranges(slice_ranges))
        self._depth = depth
        return operand

    def _ranges(self, parse: Callable[[str], tuple[Range, ...]]) -> tuple[Range, ...]:
        token = self._take()
        try:
            return parse(token.value)
        except RangeError as error:
            self._fail(token, str(error))

    def _call(self, name: Token) -> Operand:
        function = FUNCTIONS.get(name.value)
        if function is None:
            near = nearest(name.value, FUNCTIONS)
            self._fail(
                name,
                f"there is no function '{printable_name(name.text)}'" + (f"; did you mean {near}?" if near else ""),
            )
        self._take()
        self._deeper()
        given = [self._operand()]
        while self._is(","):
            self._take()
            given.append(self._operand())
        self._expect(")")
        self._depth -= 1
        if len(given) > 1 and not function.takes_many:
            self._fail(given[1].token, f"{name.value} takes one argument")
        like = next((self._value(one) for one in given if not isinstance(one.what, Raw)), None)
        if like is None:
            self._no_field(given[0].token)
        arguments = tuple(self._value(one, like.kind, _field(like), free=True) for one in given)
        for one, argument in zip(given, arguments, strict=True):
            if function.takes and argument.kind not in function.takes:
                self._fail(one.token, f"{name.value} is not for a {argument.kind}")
            if isinstance(argument, FieldValues) and name.value == "string" and argument.field.type.value == "Boolean":
                self._fail(one.token, "string is not for a Boolean")
        return self._slices(Call(name.value, arguments, function.gives or like.kind), name)

    # Types

    def _value(self, placed: Placed, kind: Kind = "number", field: object = None, *, free: bool = False) -> Operand:
        """An operand with its literal, if it is one, as a value of `kind`."""
        what = placed.what
        if isinstance(what, Raw):
            return self._literal(what, kind, None if free else field)
        if isinstance(what, Present | Compare | Among | Not | Joined):
            self._fail(placed.token, "a test is no value")
        return what

    def _alike(self, left: Placed, right: Placed, *, free: bool = False) -> tuple[Operand, Operand]:
        """Both sides as values that can be compared, or reckoned with; `free` from the limits of a field."""
        if isinstance(left.what, Raw) and not isinstance(right.what, Raw):
            b = self._value(right)
            return self._value(left, b.kind, _field(b), free=free), b
        a = self._value(left)
        b = self._value(right, a.kind, _field(a), free=free)
        both = {"number" if one.kind == "float" else "bytes" if one.kind in BYTES else one.kind for one in (a, b)}
        if len(both) > 1:
            said = f"'{left.token.text}' is a {a.kind} and '{right.token.text}' a {b.kind}"
            self._fail(right.token, f"{said}, which cannot be compared")
        return a, b

    def _literal(self, raw: Raw, kind: Kind, field: object) -> Constant:
        try:
            return constant(raw.token, kind, field, negative=raw.negative)  # type: ignore[arg-type]
        except LiteralError as error:
            self._fail(raw.token, str(error))

    def _no_field(self, token: Token) -> NoReturn:
        if token.kind == "word":
            near = nearest(token.value, registry().fields)
            hint = f"; did you mean {near}?" if near else ""
            self._fail(token, f"'{printable_name(token.text)}' is neither a field nor a protocol{hint}")
        self._fail(token, f"{printable_name(token.text)} is compared with nothing that a packet has")


def _field(operand: Operand) -> object:
    return operand.field if isinstance(operand, FieldValues) else None
