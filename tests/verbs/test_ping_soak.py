"""Ten targets at a hundred probes a second each, through a path that loses, repeats, reorders and delays: what ping
counts is exactly what the path did. ECHOWIRE_SOAK_SECONDS=600 makes it ten minutes."""

from __future__ import annotations

import os

import echowire
from tests.lossy_path import LossyPath
from tests.processes import serving

SECONDS = int(os.environ.get("ECHOWIRE_SOAK_SECONDS", "7"))
ADDRESSES = [f"127.0.9.{number}" for number in range(1, 11)]


def test_the_counts_are_what_the_path_did() -> None:
    count = SECONDS * 100
    with (
        serving("udp://127.0.0.1:0", "--service", "stamp", sockets=1) as server,
        LossyPath(ADDRESSES, server.port, count) as path,
    ):
        pinged = echowire.ping(*path.targets, probe="stamp", count=count, interval_s=0.01, wait_s=1.0)
    for target, account, (there, back) in zip(pinged.targets, path.accounts, path.ways, strict=True):
        counted = (target.sent, target.received, target.late, target.duplicated, target.reordered, target.corrupted)
        did = (count, account.received, account.late, account.duplicated, account.reordered, 0)
        assert counted == did
        assert target.lost == count - account.received
        # The reflector counts what reaches it, the copies too.
        assert target.lost_forward is not None
        assert target.lost_forward == max(there.lost - there.twice, 0)
        assert there.lost > 0 < back.lost
        assert target.duplicated > 0 < target.reordered
    assert pinged.ghosts == 0
    if SECONDS >= 7:
        assert sum(target.late for target in pinged.targets) > 0
