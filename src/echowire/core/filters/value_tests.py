"""A test of a display filter as a Polars expression over the values of its fields.

A packet has a field not at all, once or several times, and a test must hold of any of its values, or of every one. So
a test is compiled to an expression over a table of occurrences, which has a row a value (a row a pair, where two fields
are compared: all pairs of a packet's values), and its outcome is brought back to packets by their rows. No list, no
null, and no packet without the field is ever looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from echowire.core.filters.expressions import among, compare, nonzero
from echowire.core.filters.inputs import Inputs
from echowire.core.filters.presence import Mask
from echowire.core.filters.tree import Among, Compare, Test
from echowire.core.packets.dissect import Packets


@dataclass(slots=True)
class PacketTest:
    """One test, compiled: `expression` is over the columns that `inputs` gives."""

    inputs: Inputs
    expression: pl.Expr
    every: bool

    def mask(self, packets: Packets) -> Mask:
        """Which packets of a chunk pass."""
        passed = np.zeros(len(packets), np.bool_)
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


def compiled(tree: Test) -> PacketTest:
    """A test that looks at values."""
    inputs = Inputs()
    if isinstance(tree, Compare):
        return PacketTest(inputs, compare(tree, inputs), tree.every)
    if isinstance(tree, Among):
        return PacketTest(inputs, among(tree, inputs), tree.every)
    return PacketTest(inputs, nonzero(tree.operand, inputs), every=False)
