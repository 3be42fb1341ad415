"""A server that other machines can reach: what it answers them, and what not; with two hosts in namespaces."""

from __future__ import annotations

import json
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import netns
from tests.peers import needs_root
from tests.processes import COMMAND, PATIENCE_S

pytestmark = needs_root

SERVER = "10.88.0.1"


@contextmanager
def two_hosts(*arguments: str) -> Iterator[tuple[netns.Namespace, subprocess.Popen[str], int]]:
    """A client's host, the server's process on the other, and its port."""
    if reason := netns.why_not():
        pytest.skip(reason)
    with netns.namespaces(2) as (there, here):
        netns.link(there, here, f"{SERVER}/24", "10.88.0.2/24")
        process = there.start(
            *COMMAND, "serve", ":0", "--jsonl", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["endpoint"].rpartition(":")[2]
            assert json.loads(process.stdout.readline())["event"] == "listening"
            try:
                yield here, process, int(port)
            finally:
                process.terminate()


def ask(host: netns.Namespace, port: int, source_port: int, message: bytes = b"hello?") -> bool:
    """Whether a datagram from `source_port` is answered, a later one from another port being answered for sure."""
    with (
        host.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
        host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sure,
    ):
        asking.bind(("0.0.0.0", source_port))
        asking.connect((SERVER, port))
        asking.send(message)
        sure.settimeout(PATIENCE_S)
        sure.connect((SERVER, port))
        sure.send(b"in order")
        assert sure.recv(100) == b"in order"
        return bool(select.select([asking], [], [], 0)[0])


def events_until(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    assert process.stdout is not None
    while True:
        event: dict[str, Any] = json.loads(process.stdout.readline())
        if event["event"] == kind:
            return event


def test_no_reply_loop_can_be_made_of_it() -> None:
    with two_hosts() as (host, process, port):
        assert ask(host, port, 40_000)
        assert not ask(host, port, 7)
        assert not ask(host, port, 19)
        assert not ask(host, port, port)
        refused = events_until(process, "refused")
        assert "source port 7" in refused["reason"] and refused["peer"] == "10.88.0.2:7"
        process.terminate()
        summary = events_until(process, "stopped")["summary"]
        assert (summary["refused"], summary["datagrams_received"]) == (3, 8)


def test_a_peer_has_its_rate() -> None:
    with two_hosts("--datagram-rate", "5") as (host, process, port):
        with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect((SERVER, port))
            for number in range(50):
                peer.send(b"%d" % number)
            answered = 0
            while select.select([peer], [], [], 0.5)[0]:
                peer.recv(100)
                answered += 1
        # Five at once; one or two more only if sending took a good part of a second.
        assert 5 <= answered <= 10
        assert "more than 5 datagrams a second" in events_until(process, "refused")["reason"]


def test_connections_and_the_address_that_was_asked() -> None:
    with two_hosts() as (host, _process, port):
        with host.socket(socket.AF_INET, socket.SOCK_STREAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect((SERVER, port))
            peer.sendall(b"from afar")
            assert peer.recv(100) == b"from afar"
