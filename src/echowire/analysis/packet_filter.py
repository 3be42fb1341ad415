"""Display filters over chunks of packets: each test of one is a Polars expression over the values of its fields.

A packet has a field not at all, once or several times, and a test must hold of any of its values, or of every one. So
a test is compiled to an expression over a table of occurrences, which has a row a value (a row a pair, where two fields
are compared: all pairs of a packet's values), and its outcome is brought back to packets by their rows. No list, no
null, and no packet without the field is ever looked at. The tests' outcomes, a Boolean a packet, are then joined as the
filter says; what cannot change the answer any more is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from echowire.analysis.filter_expressions import among, compare, nonzero
from echowire.analysis.filter_inputs import Inputs
from echowire.wire.display_filter import parse_filter
from echowire.wire.dissect import Packets
from echowire.wire.filter_tree import Among, Compare, FieldValues, Filter, Joined, Not, Test, fields_of

Mask = NDArray[np.bool_]


@dataclass(slots=True)
class PacketTest:
    """One test, compiled: `expression` is over the columns that `inputs` gives; None asks only for presence."""

    inputs: Inputs
    expression: pl.Expr | None
    every: bool

    def mask(self, packets: Packets) -> Mask:
        """Which packets of a chunk pass."""
        passed = np.zeros(len(packets), np.bool_)
        if self.expression is None:
            passed[self.inputs.rows(packets)] = True
            return passed
        rows, frame = self.inputs.table(packets)
        if not len(rows):
            return passed
        hits = frame.select(self.expression.fill_null(False).alias("hit"))["hit"].to_numpy()
        if self.every:
            passed[rows] = True
            passed[rows[~hits]] = False
        else:
            passed[rows[hits]] = True
        return passed


class PacketFilter:
    """A filter, compiled: give it chunks of packets in which `fields` are dissected."""

    def __init__(self, tree: Filter) -> None:
        self.fields = fields_of(tree)
        self._tree = tree
        self._tests: dict[int, PacketTest] = {}
        self._compile(tree)

    @classmethod
    def of(cls, texts: Sequence[str]) -> PacketFilter:
        """What passes all of some display filters, one at least. Raises `FilterError`."""
        trees = tuple(map(parse_filter, texts))
        return cls(trees[0] if len(trees) == 1 else Joined("&&", trees))

    def mask(self, packets: Packets) -> Mask:
        """Which packets of a chunk pass."""
        return self._mask(self._tree, packets)

    def _mask(self, tree: Filter, packets: Packets) -> Mask:
        if isinstance(tree, Not):
            return ~self._mask(tree.of, packets)
        if not isinstance(tree, Joined):
            return self._tests[id(tree)].mask(packets)
        found = self._mask(tree.parts[0], packets)
        for part in tree.parts[1:]:
            if (tree.sign == "&&" and not found.any()) or (tree.sign == "||" and found.all()):
                break
            more = self._mask(part, packets)
            found = found & more if tree.sign == "&&" else found | more if tree.sign == "||" else found ^ more
        return found

    def _compile(self, tree: Filter) -> None:
        if isinstance(tree, Not):
            self._compile(tree.of)
        elif isinstance(tree, Joined):
            for part in tree.parts:
                self._compile(part)
        else:
            self._tests[id(tree)] = _test(tree)


def _test(tree: Test) -> PacketTest:
    inputs = Inputs()
    if isinstance(tree, Compare):
        return PacketTest(inputs, compare(tree, inputs), tree.every)
    if isinstance(tree, Among):
        return PacketTest(inputs, among(tree, inputs), tree.every)
    if isinstance(tree.operand, FieldValues):
        inputs.add(tree.operand, "none")
        return PacketTest(inputs, None, every=False)
    return PacketTest(inputs, nonzero(tree.operand, inputs), every=False)
