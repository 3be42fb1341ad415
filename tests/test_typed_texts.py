"""Whatever is typed is understood, or refused by the one error that says so: a few of what `make fuzz` tries."""

from __future__ import annotations

import pytest
from fuzz.texts import KINDS, run


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_understood_or_refused(kind: str) -> None:
    assert run(kind, 200, 1) > 0
