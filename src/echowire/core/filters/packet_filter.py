"""Display filters over chunks of packets: what each test of one says, as a Boolean a packet, joined as the filter says.

What cannot change the answer any more is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from echowire.core.filters.parse import parse_filter
from echowire.core.filters.presence import Mask, pieces
from echowire.core.filters.tree import Among, Compare, FieldValues, Filter, Joined, Not, Test, fields_of
from echowire.core.packets.dissect import Packets

if TYPE_CHECKING:
    from echowire.core.filters.value_tests import PacketTest


class Presence:
    """The test whether a packet has a field. It needs no Polars, which takes as long to load as all else together."""

    def __init__(self, wanted: FieldValues) -> None:
        self._wanted = wanted

    def mask(self, packets: Packets) -> Mask:
        """Which packets of a chunk pass."""
        passed = np.zeros(len(packets), np.bool_)
        for layer, index, _ in pieces(packets, self._wanted):
            passed[layer.rows[index]] = True
        return passed


class PacketFilter:
    """A filter, compiled: give it chunks of packets in which `fields` are dissected."""

    def __init__(self, tree: Filter) -> None:
        self.fields = fields_of(tree)
        self._tree = tree
        self._tests: dict[int, PacketTest | Presence] = {}
        self._compile(tree)

    @classmethod
    def of(cls, texts: Sequence[str]) -> PacketFilter:
        """What passes all of some display filters, one at least. Raises `FilterError`."""
        return cls.of_all(tuple(map(parse_filter, texts)))

    @classmethod
    def of_all(cls, trees: tuple[Filter, ...]) -> PacketFilter:
        """The same of filters that were parsed before."""
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


def _test(tree: Test) -> PacketTest | Presence:
    if not isinstance(tree, Compare | Among) and isinstance(tree.operand, FieldValues):
        return Presence(tree.operand)
    from echowire.core.filters.value_tests import compiled  # and Polars with it

    return compiled(tree)
