"""The operands and comparisons of display filters as Polars expressions over the columns of a test's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import zip_longest
from operator import or_
from typing import Any

import numpy as np
import polars as pl

from echowire.core.filters.functions import TOGETHER
from echowire.core.filters.inputs import Inputs
from echowire.core.filters.occurrences import Form, Occurrences, dtype_of
from echowire.core.filters.regex import compiled
from echowire.core.filters.tree import (
    Among,
    Arithmetic,
    Call,
    Compare,
    Constant,
    FieldValues,
    Kind,
    Operand,
    Range,
    Relation,
    Slice,
)
from echowire.core.packets.columns import SIZES
from echowire.core.packets.dissect import Packets

MIRRORED: dict[Relation, Relation] = {"==": "==", "!=": "!=", ">": "<", "<": ">", ">=": "<=", "<=": ">="}
"""What holds of b and a when a relation holds of a and b."""

INTEGERS: frozenset[Kind] = frozenset({"number", "ipv4", "ether", "time", "duration"})
"""Kinds that are integers in Polars."""

LARGEST_INT = (1 << 63) - 1


def compare(tree: Compare, inputs: Inputs) -> pl.Expr:
    """Whether a relation holds of a pair of values."""
    if tree.relation == "matches":
        assert isinstance(tree.right, Constant)
        return _matches(value(tree.left, inputs, "whole"), str(tree.right.low))
    if tree.relation == "contains":
        left = value(tree.left, inputs, "whole")
        right = value(tree.right, inputs, "bytes")
        if tree.left.kind == "text":
            return left.str.contains(right, literal=True)
        return left.bin.contains(right)
    if isinstance(tree.left, Constant):
        return compare(Compare(MIRRORED[tree.relation], tree.right, tree.left, tree.every), inputs)
    form: Form = "native" if tree.left.kind == tree.right.kind else "bytes"
    kind = _kind(tree.left, form)
    if isinstance(tree.right, Constant):
        left, dtype = _exact(tree.left, inputs, form)
        low, high = tree.right.low, tree.right.high
        return _related(
            tree.relation, left, literal(low, kind, dtype), None if low == high else literal(high, kind, dtype), kind
        )
    return _related(tree.relation, value(tree.left, inputs, form), value(tree.right, inputs, form), None, kind)


def among(tree: Among, inputs: Inputs) -> pl.Expr:
    """Whether a value lies in one of some ranges."""
    kind = tree.operand.kind
    left, dtype = _exact(tree.operand, inputs, "native")
    single = [low.low for low, high in tree.ranges if low.low == high.high]
    tests = [
        _related(">=", left, literal(low.low, kind, dtype), None, kind)
        & _related("<=", left, literal(high.high, kind, dtype), None, kind)
        for low, high in tree.ranges
        if low.low != high.high
    ]
    if kind in ("number", "ipv4", "time", "duration") and len(single) > 1:
        tests.append(left.is_in(pl.Series(single, dtype=dtype or pl.Int64).implode()))
    else:
        tests += [left == literal(one, kind, dtype) for one in single]
    return reduce(or_, tests)


def _exact(operand: Operand, inputs: Inputs, form: Form) -> tuple[pl.Expr, Any]:
    """An operand's values to be compared with a constant, and their type: a field's own, in which it is compared."""
    if isinstance(operand, FieldValues) and operand.kind in INTEGERS and form == "native":
        return inputs.add(operand, form), dtype_of(operand.field, form)
    return value(operand, inputs, form), None


def nonzero(operand: Operand, inputs: Inputs) -> pl.Expr:
    """What a slice alone, or arithmetic alone, asks: that there is a value; that it is not zero."""
    found = value(operand, inputs, "native")
    if isinstance(operand, Slice):
        return found.is_not_null()
    if operand.kind == "bytes":
        return _mapped(found, lambda one: any(one), pl.Boolean)
    return found != 0


def value(operand: Operand, inputs: Inputs, form: Form) -> pl.Expr:
    """An operand's values. Integers are widened, so that they can be reckoned with and compared with others."""
    if isinstance(operand, FieldValues):
        form = _fitting(operand, form)
        column = inputs.add(operand, form)
        if form != "native" or operand.kind not in INTEGERS:
            return column
        return column.cast(
            pl.Int128 if dtype_of(operand.field, form) == pl.UInt64 and operand.kind != "ether" else pl.Int64
        )
    if isinstance(operand, Constant):
        return literal(operand.low, _kind(operand, form))
    if isinstance(operand, Slice):
        ranges = operand.ranges
        of = value(operand.of, inputs, "bytes")
        return _mapped(of, lambda one: sliced(one, ranges), pl.String if operand.kind == "text" else pl.Binary)
    if isinstance(operand, Arithmetic):
        return _arithmetic(operand, inputs)
    if operand.name in TOGETHER:
        return inputs.add_source(_together(operand))
    return _called(operand, inputs)


def literal(constant: Any, kind: Kind, dtype: Any = None) -> pl.Expr:
    """A value that stands in the filter, of a type that is compared with it."""
    if isinstance(constant, str):
        return pl.lit(constant.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    if isinstance(constant, bytes):
        if kind == "ether":
            return pl.lit(int.from_bytes(constant, "big"), dtype or pl.Int64)
        return pl.lit(constant, pl.Binary)
    if isinstance(constant, int):
        return pl.lit(constant, dtype or (pl.Int64 if abs(constant) <= LARGEST_INT else pl.Int128))
    return pl.lit(constant)


def _fitting(operand: FieldValues, form: Form) -> Form:
    """The form in which a field's values are taken, where `form` is wanted."""
    if operand.kind == "protocol":
        return "whole" if form == "whole" else "bytes"
    if form == "whole":
        return "bytes"
    return form


def _kind(operand: Operand, form: Form) -> Kind:
    """What the values are, in that form."""
    return (
        operand.kind
        if form == "native" and operand.kind != "protocol"
        else "bytes"
        if form == "bytes"
        else operand.kind
    )


def _related(relation: Relation, left: pl.Expr, low: pl.Expr, high: pl.Expr | None, kind: Kind) -> pl.Expr:
    """A relation to a value, or to a network from `low` to `high`."""
    if kind in ("bytes", "protocol") and relation not in ("==", "!="):
        return _longer_or_greater(relation, left, low)
    match relation:
        case "==":
            return left == low if high is None else (left >= low) & (left <= high)
        case "!=":
            return left != low if high is None else (left < low) | (left > high)
        case ">":
            return left > (low if high is None else high)
        case "<":
            return left < low
        case ">=":
            return left >= low
        case _:
            return left <= (low if high is None else high)


def _longer_or_greater(relation: Relation, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Wireshark's order of bytes: what is longer is greater."""
    a, b = left.bin.size(), right.bin.size()
    same = a == b
    match relation:
        case ">":
            return (a > b) | (same & (left > right))
        case "<":
            return (a < b) | (same & (left < right))
        case ">=":
            return (a > b) | (same & (left >= right))
        case _:
            return (a < b) | (same & (left <= right))


def _matches(left: pl.Expr, pattern: str) -> pl.Expr:
    search = compiled(pattern).search

    def found(values: pl.Series) -> pl.Series:
        each = values.to_list()
        matched = {  # of packets many have the same text
            value: value is not None and search(value.encode() if isinstance(value, str) else value) is not None
            for value in set(each)
        }
        return pl.Series([matched[value] for value in each], dtype=pl.Boolean)

    return left.map_batches(found, return_dtype=pl.Boolean)


def _mapped(values: pl.Expr, function: Callable[[Any], Any], kind: Any) -> pl.Expr:
    """A function of each value that there is."""

    def made(series: pl.Series) -> pl.Series:
        return pl.Series([None if one is None else function(one) for one in series.to_list()], dtype=kind)

    return values.map_batches(made, return_dtype=kind)


def sliced(whole: Any, ranges: Sequence[Range]) -> Any:
    """Some parts of bytes or of a text, joined; None where it has not all of them."""
    size, parts = len(whole), []
    for one in ranges:
        first = one.first if one.first >= 0 else size + one.first
        last = size - 1 if one.last is None else one.last if one.last >= 0 else size + one.last
        if not 0 <= first <= last < size:
            return None
        parts.append(whole[first : last + 1])
    return parts[0] if len(parts) == 1 else whole[:0].join(parts)


def _arithmetic(tree: Arithmetic, inputs: Inputs) -> pl.Expr:
    if tree.kind == "bytes":
        left, right = value(tree.left, inputs, "bytes"), value(tree.right, inputs, "bytes")
        return pl.struct(left.alias("a"), right.alias("b")).map_batches(_both_bits, return_dtype=pl.Binary)
    a, b = value(tree.left, inputs, "native"), value(tree.right, inputs, "native")
    match tree.sign:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "&":
            return a & b
    if "float" in (tree.left.kind, tree.right.kind):
        b = pl.when(b != 0).then(b)
        return a / b if tree.sign == "/" else a % b
    b = pl.when(b != 0).then(b)
    quotient = (a.abs() // b.abs()) * a.sign() * b.sign()  # towards zero, as C does
    return quotient if tree.sign == "/" else a - quotient * b


def _both_bits(pairs: pl.Series) -> pl.Series:
    """The bits that both of two byte strings have, byte by byte."""
    fields = pairs.struct.unnest()
    each = zip(fields["a"].to_list(), fields["b"].to_list(), strict=True)
    made = [
        None if a is None or b is None else bytes(x & y for x, y in zip_longest(a, b, fillvalue=0)) for a, b in each
    ]
    return pl.Series(made, dtype=pl.Binary)


def _called(call: Call, inputs: Inputs) -> pl.Expr:
    """A function of each value."""
    argument = call.arguments[0]
    match call.name:
        case "upper":
            return value(argument, inputs, "native").str.to_uppercase()
        case "lower":
            return value(argument, inputs, "native").str.to_lowercase()
        case "abs":
            return value(argument, inputs, "native").abs()
        case "len":
            return _length(argument, inputs)
        case _:
            if isinstance(argument, FieldValues) and argument.kind != "number":
                return value(argument, inputs, "text")
            return value(argument, inputs, "native").cast(pl.String)


def _length(argument: Operand, inputs: Inputs) -> pl.Expr:
    """Bytes of each value."""
    if argument.kind == "text":
        return value(argument, inputs, "native").str.len_bytes().cast(pl.Int64)
    if argument.kind in ("bytes", "protocol", "ipv6"):
        return value(argument, inputs, "bytes").bin.size().cast(pl.Int64)
    found = value(argument, inputs, "native")
    size = SIZES.get(argument.field.type, 8) if isinstance(argument, FieldValues) else 8
    return pl.when(found.is_not_null()).then(pl.lit(size, pl.Int64))


def _together(call: Call) -> Callable[[Packets], Occurrences]:
    """A function of all values of a packet."""
    parts = []
    for argument in call.arguments:
        inputs = Inputs()
        form: Form = "none" if call.name == "count" and isinstance(argument, FieldValues) else "native"
        parts.append((inputs, value(argument, inputs, form), form))

    def found(packets: Packets) -> Occurrences:
        rows, values, constants = [], [], []
        for inputs, expression, form in parts:
            if form == "none":
                rows.append(inputs.rows(packets))
            elif not inputs.sources:
                constants.append(expression)
            else:
                table = inputs.table(packets)
                rows.append(table.rows)
                values.append(table.frame.select(expression.alias("value"))["value"])
        every = np.concatenate(rows)
        if call.name == "count":
            count = np.bincount(every, minlength=len(packets))
            some = np.flatnonzero(count)
            return Occurrences(some, pl.Series(count[some]))
        frame = pl.DataFrame({"row": every, "value": pl.concat(values)})
        best = pl.col("value").max() if call.name == "max" else pl.col("value").min()
        joined = frame.group_by("row").agg(best).sort("row")
        choose = pl.max_horizontal if call.name == "max" else pl.min_horizontal
        result = joined.select(choose(pl.col("value"), *constants).alias("value"))["value"]
        return Occurrences(joined["row"].to_numpy(), result)

    return found
