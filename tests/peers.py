"""The real peers that tests talk to, and what to do where they are missing: skip, and say so."""

from __future__ import annotations

import shutil

import pytest

needs_root = pytest.mark.usefixtures("needs_root")
"""Marks a test that skips, saying so, unless it runs as root."""


def needs(*commands: str) -> pytest.MarkDecorator:
    """Marks a test (or a module, as `pytestmark`) that skips where one of `commands` is not installed."""
    missing = [command for command in commands if shutil.which(command) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
