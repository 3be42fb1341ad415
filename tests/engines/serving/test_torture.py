"""`bench/torture.py`, in short: clients that overrun receive buffers, and no connection freezes on any engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from echowire.engines.serving.in_kernel import prove
from tests.netns import why_not

TORTURE = Path(__file__).parents[3] / "bench" / "torture.py"
SECONDS, CLIENTS = 6, 24


@pytest.mark.parametrize(
    ("engine", "case"), [("auto", "tiny"), ("kernel", "small"), ("readiness", "tiny"), ("threads", "tiny")]
)
def test_nothing_freezes_and_no_byte_is_wrong(engine: str, case: str) -> None:
    if reason := why_not() or (prove() if engine == "kernel" else None):
        pytest.skip(reason)
    command = [sys.executable, str(TORTURE), "--engine", engine, "--case", case, "--json"]
    command += ["--seconds", str(SECONDS), "--clients", str(CLIENTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    shown = json.loads(done.stdout)
    assert done.returncode == 0 and shown["ok"], shown
    if not shown["receive_drops"]:
        pytest.skip("nothing was tested of what a server does then: no buffer overran")
