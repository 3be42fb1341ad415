"""Which occurrence of a field is told of a packet that has several."""

from __future__ import annotations

import numpy as np
import pytest

from echowire.core.packets.dissect import first_of_each
from echowire.core.packets.layers import Values
from echowire.core.views.field_lines import last_of_each


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [
        ([], [], []),
        ([4], [0], [0]),
        ([1, 1], [0], [1]),
        ([1, 2], [0, 1], [0, 1]),
        ([0, 0, 0, 2, 5, 5], [0, 3, 4], [2, 3, 5]),
    ],
)
def test_one_of_each_packet(rows: list[int], first: list[int], last: list[int]) -> None:
    values = Values(np.array(rows, np.int64), np.arange(len(rows)))
    assert first_of_each(values).values.tolist() == first
    found = last_of_each(values)
    assert found.values.tolist() == last
    assert found.rows.tolist() == sorted(set(rows))
