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
            if "-u" not in arguments:
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


UDP_SERVICES = ("echo", "discard", "chargen", "qotd", "daytime", "time", "stamp")
QUESTIONS = (0, 1, 3, 4, 5, 40, 44, 200, 600)
"""Bytes asked with: around time's four, within and beyond a daytime's and a quote's length, STAMP's 44."""

AMPLIFIED = {"chargen": 512, "qotd": 512, "daytime": 64, "time": 4}
"""The most that a service answers, whatever it was asked."""


def answers_to(host: netns.Namespace, port: int, questions: list[bytes]) -> list[bytes | None]:
    """What each datagram is answered, asked one after the other; None for nothing."""
    answers: list[bytes | None] = []
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect((SERVER, port))
        for question in questions:
            peer.send(question)
            answers.append(peer.recv(4096) if select.select([peer], [], [], 0.3)[0] else None)
    return answers


@pytest.mark.parametrize("service", UDP_SERVICES)
@pytest.mark.parametrize("engine", ["readiness", "threads"])
def test_no_answer_is_larger_than_its_question(service: str, engine: str) -> None:
    with two_hosts("--service", service, "--engine", engine, "-u") as (host, process, port):
        questions = [b"\0" * 13 + b"\1" + b"\0" * (size - 14) if size > 14 else b"\1" * size for size in QUESTIONS]
        answers = answers_to(host, port, questions)
        sizes = [None if answer is None else len(answer) for answer in answers]
        assert all(size is None or size <= asked for size, asked in zip(sizes, QUESTIONS, strict=True)), sizes
        expected: dict[str, list[int | None]] = {
            "echo": list(QUESTIONS),
            "discard": [None] * len(QUESTIONS),
            "qotd": [None, 1, 3, 4, 5, 40, 44, *sizes[-2:]],
            "daytime": [None, 1, 3, 4, 5, *sizes[5:]],
            "time": [None, None, None, 4, 4, 4, 4, 4, 4],
            "stamp": [None] * 6 + [44, 200, 600],
        }
        if service == "chargen":  # a random number of characters, RFC 864 says, and so now and then fewer
            assert sizes[0] is None and None not in sizes[1:]
        else:
            assert sizes == expected[service]
        if service in ("time", "qotd"):
            assert "--amplify" in events_until(process, "refused")["reason"]


@pytest.mark.parametrize("service", AMPLIFIED)
def test_larger_answers_are_asked_for(service: str) -> None:
    with two_hosts("--service", service, "--amplify", "-u") as (host, _process, port):
        answers = answers_to(host, port, [b"", b"?"] * 4)
        assert all(answer is not None and len(answer) <= AMPLIFIED[service] for answer in answers)
        assert max(len(answer or b"") for answer in answers) > 1


def test_a_peer_has_its_bytes() -> None:
    with two_hosts("--datagram-bytes", "10K", "-u") as (host, process, port):
        with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect((SERVER, port))
            for _ in range(60):
                peer.send(bytes(1000))
            answered = 0
            while select.select([peer], [], [], 0.5)[0]:
                answered += len(peer.recv(4096))
        # A second's worth at once, and one that began within it, or 64 that came as one burst; a little more only if
        # sending took a good part of a second.
        assert 10_000 <= answered <= 30_000
        assert "more than 10240 bytes of answers a second" in events_until(process, "refused")["reason"]
