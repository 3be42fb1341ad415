"""How a peer is named."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from echowire.kernel.connections.accept import address_text, peer_text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1:80"),
        (("fe80::1%lo", 80, 0, 1), "[fe80::1%lo]:80"),
        ("/run/s", "/run/s"),
        (b"\0name", "@name"),
        (b"", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_addresses(address: Any, text: str) -> None:
    assert address_text(address) == text


def test_a_unix_peer_is_its_process() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_text(here, "") == f"pid {os.getpid()} uid {os.getuid()}"
