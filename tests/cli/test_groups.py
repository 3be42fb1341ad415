"""`call`, `bench`, `ping` and `serve` of groups, as typed: what is printed, refused and exited with."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest

import echowire
from tests.bridged import bridged
from tests.commands import run_command
from tests.processes import COMMAND, PATIENCE_S

GROUP = "239.255.71.9%lo"


@pytest.fixture
def port() -> object:
    with echowire.serve(f"udp://{GROUP}:0") as server:
        yield server.endpoint.port


def test_a_message_is_shown_with_who_sent_it_back(port: int) -> None:
    done = run_command("call", "-u", GROUP, port, "-m", "Hello\x1b[2J", "-W", "200ms")
    assert done.status == 0 and re.fullmatch(rf"\S+:{port}: Hello\\x1b\[2J\n", done.out), done.out


def test_messages_that_are_measured_have_numbers_and_a_table(port: int) -> None:
    done = run_command("call", "-u", GROUP, port, "-c", 3, "--verify", "-W", "200ms")
    assert done.status == 0
    first, *_, title, row = done.out.splitlines()
    assert re.fullmatch(rf"64 bytes from \S+:{port}: seq=1 time=.*", first)
    assert title.split()[:4] == ["sender", "answered", "lost", "loss"] and row.split()[1:4] == ["3", "0", "0%"]


def test_what_is_piped_is_sent(port: int) -> None:
    words = [*COMMAND, "call", "-u", GROUP, str(port), "-W", "200ms"]
    done = subprocess.run(words, input=b"piped", capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stdout.endswith(b": piped\n")


def test_input_that_ends_waits_for_nobody_where_netcat_would_not() -> None:
    words = [*COMMAND, "call", "-u", GROUP, "9", "-q", "0"]
    done = subprocess.run(words, input=b"to whom it may concern", capture_output=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("verb", ["call", "bench", "ping"])
def test_nobody_is_exit_1_and_one_line(verb: str) -> None:
    target = ("-u", f"udp://{GROUP}:9") if verb != "ping" else ("-u", GROUP, "-P", 9)
    done = run_command(verb, *target, "-c" if verb != "bench" else "-n", 1, "-W", "50ms")
    assert done.status == 1
    assert done.err.count("\n") == 1 and "nobody answered within 50.0 ms (our timer). It left by lo" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("call", "-u", "127.0.0.1", 9, "--ttl", 3), "--ttl is for multicast groups and broadcast"),
        (("bench", "-u", "127.0.0.1", 9, "--interface", "lo"), "--interface is for multicast groups and broadcast"),
        (("call", f"tcp://{GROUP}:9"), "many are called by datagrams; write udp://239.255.71.9%lo:9, or -u"),
        (("call", "-u", "10.0.0.1@232.1.1.1%lo", 9), "one sends from it with --source 10.0.0.1"),
        (("call", "-u", "10.0.0.1@10.0.0.2", 9), "10.0.0.2 is no multicast group; only of a group one names a source"),
        (("call", "-u", "x@232.1.1.1", 9), "before @ stands the address of a group's one sender"),
        (("bench", "-u", GROUP, 9, "-R"), "answers for itself: --reverse is for one"),
        (("bench", "-u", GROUP, 9, "--fail-if", "loss>1%"), "--fail-if is for one"),
        (("call", "-u", GROUP, 9, "-m", "x", "--no-half-close"), "--half-close is for one"),
        (("bench", "-u", GROUP, 9, "-s", "64-100"), "all of one size"),
        (("ping", GROUP, "127.0.0.1"), "239.255.71.9%lo is many hosts, and is asked by itself"),
        (("ping", "-T", GROUP), "answers for itself: --tcp is for one"),
        (("call", "-6", "-u", GROUP, 9), "is no IPv6 group"),
        (("call", "-u", GROUP, 9, "--interface", "eth9"), "names lo, and --interface eth9; give one of them"),
        (("serve", "127.0.0.1:0", "--interface", "lo"), "an interface is named for multicast groups"),
        (("serve", f"udp://{GROUP}:0", "--workers", 2), "each of 2 workers would get, and answer"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words: tuple[object, ...], said: str) -> None:
    done = run_command(*words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err and done.err.count("\n") == 1


def test_a_server_that_heard_nothing_says_what_was_thrown_away() -> None:
    with bridged(2) as (_, caller, host):
        host.sysctl("net.ipv4.conf.veth0.rp_filter", 1)
        caller.ip("address add 172.20.0.1/24 dev veth0")
        words = ("serve", "239.1.2.3:5000", "--interface", "veth0")
        process = host.start(*COMMAND, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "Server listening on 239.1.2.3%veth0:5000 (udp)\n"
        with caller.inside():
            call = echowire.call_group("udp://239.1.2.3%veth0:5000", count=4, wait_s=0.1, source="172.20.0.1")
            assert not call.run().senders
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert "nothing came to 239.1.2.3%veth0:5000/udp: 4 packets were dropped meanwhile" in told
    assert told.count("\n") == 1 and process.returncode == 0
