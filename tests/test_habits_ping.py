"""What people type from habit, as transcripts: ping, fping and mtr beside `echowire ping`, on the same hosts.

Three hosts in a row: `client` (10.77.0.1), a router (10.77.0.2) and a server (10.77.1.2). Each test runs the real
program and ours, and compares what one looks for: the exit status, who answered, and how many did.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.netns import Namespace, chain
from tests.peers import needs, needs_root
from tests.processes import PATIENCE_S

pytestmark = [needs_root, needs("ping")]

ROUTER, SERVER, NOBODY = "10.77.0.2", "10.77.1.2", "10.77.0.99"
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def client() -> Iterator[Namespace]:
    with chain(3) as hosts:
        yield hosts[0]


def shell(client: Namespace, line: str) -> Done:
    """What a line gives; `echowire` is ours."""
    words = line.split()
    if words[0] == "echowire":
        words = [sys.executable, "-m", *words]
    command = ["ip", "netns", "exec", client.name, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def both(client: Namespace, theirs: str, ours: str) -> tuple[Done, Done]:
    """What the two lines give, which end alike."""
    peer, own = shell(client, theirs), shell(client, ours)
    assert peer.returncode == own.returncode, f"{peer.stdout}{peer.stderr}{own.stdout}{own.stderr}"
    return peer, own


def counts(done: Done) -> tuple[int, int]:
    """Packets sent and received, as ping and we have them."""
    found = re.search(r"(\d+) (?:packets transmitted|sent), (\d+) received", done.stdout)
    assert found, done.stdout
    return int(found[1]), int(found[2])


def replies(done: Done) -> list[tuple[str, ...]]:
    """Address, sequence number and time to live of each reply."""
    return re.findall(r"bytes from ([\d.]+): (?:icmp_)?seq=(\d+) ttl=(\d+) time=", done.stdout)


def test_three_pings(client: Namespace) -> None:
    peer, own = both(client, f"ping -c 3 -i 0.2 {SERVER}", f"echowire ping -c 3 -i 0.2 {SERVER}")
    assert counts(peer) == counts(own) == (3, 3)
    assert replies(peer) == replies(own) == [(SERVER, number, "63") for number in "123"]


def test_nobody_answers(client: Namespace) -> None:
    peer, own = both(client, f"ping -c 1 -W 1 {NOBODY}", f"echowire ping -c 1 -W 1 {NOBODY}")
    assert peer.returncode == 1
    assert counts(peer) == counts(own) == (1, 0)


def test_quiet_is_the_summary_alone(client: Namespace) -> None:
    peer, own = both(client, f"ping -q -c 2 -i 0.2 {SERVER}", f"echowire ping -q -c 2 -i 0.2 {SERVER}")
    assert replies(peer) == replies(own) == []
    assert counts(peer) == counts(own) == (2, 2)


def test_a_packet_that_is_too_big(client: Namespace) -> None:
    """The status says more than ping's 1: nobody was asked at all."""
    peer, own = (shell(client, f"{name} -c 1 -M do -s 2000 {SERVER}") for name in ("ping", "echowire ping"))
    assert (peer.returncode, own.returncode) == (1, 2)
    assert "message too long, mtu" in peer.stdout + peer.stderr
    assert "seq=1 too big (EMSGSIZE), says this host: MTU 1500" in own.stdout


def test_a_time_to_live_that_is_too_short(client: Namespace) -> None:
    peer, own = both(client, f"ping -c 1 -t 1 {SERVER}", f"echowire ping -c 1 -t 1 {SERVER}")
    assert f"From {ROUTER} icmp_seq=1 Time to live exceeded" in peer.stdout
    assert f"seq=1 ttl exceeded by {ROUTER}" in own.stdout


def test_stamps_before_the_lines(client: Namespace) -> None:
    peer, own = both(client, f"ping -D -c 1 {SERVER}", f"echowire ping -D -c 1 {SERVER}")
    for done in (peer, own):
        assert re.search(r"^\[\d{10}\.\d{6}\] \d+ bytes from", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("source", ["veth0", "10.77.0.1"])
def test_from_an_interface_or_an_address(client: Namespace, source: str) -> None:
    peer, own = both(client, f"ping -c 1 -I {source} {SERVER}", f"echowire ping -c 1 -I {source} {SERVER}")
    assert replies(peer) == replies(own) == [(SERVER, "1", "63")]


def test_a_pace_that_adapts(client: Namespace) -> None:
    peer, own = both(client, f"ping -A -c 20 {SERVER}", f"echowire ping -A -c 20 {SERVER}")
    assert counts(peer) == counts(own) == (20, 20)


def test_a_flood(client: Namespace) -> None:
    peer, own = both(client, f"ping -f -q -c 500 {SERVER}", f"echowire ping --flood -q -c 500 {SERVER}")
    assert counts(peer) == counts(own) == (500, 500)
    asked = shell(client, f"echowire ping -f {SERVER}")
    assert asked.returncode == 2 and "-f reads targets from a file, as in fping; --flood floods" in asked.stderr


def test_a_flood_of_nobody_is_a_hundred_a_second(client: Namespace) -> None:
    began = time.monotonic()
    own = shell(client, f"echowire ping --flood -c 30 -W 200ms {NOBODY}")
    assert own.returncode != 0
    assert time.monotonic() - began >= 0.29


@pytest.mark.parametrize("switches", ["-l 3 -A", "-p ff00", "-r", "-m 7", "-O", "-v", "-n", "-a"])
def test_switches_that_are_the_same(client: Namespace, switches: str) -> None:
    """To the router, which is on the link, so that -r passes."""
    peer, own = both(client, f"ping -c 3 -i 0.2 {switches} {ROUTER}", f"echowire ping -c 3 -i 0.2 {switches} {ROUTER}")
    assert counts(peer) == counts(own) == (3, 3)
    assert ("\a" in own.stdout) == (switches == "-a") == ("\a" in peer.stdout)


@needs("tcpdump")
def test_the_pattern_is_what_ping_sends(client: Namespace) -> None:
    for line in (f"ping -c 1 -p ff00 {ROUTER}", f"echowire ping -c 1 -p ff00 {ROUTER}"):
        listening = client.start("tcpdump", "-i", "veth0", "-c", "1", "-nx", "icmp", stdout=-1, stderr=-1, text=True)
        assert listening.stderr and listening.stdout
        while (said := listening.stderr.readline()) and "listening" not in said:
            pass
        shell(client, line)
        shown, _ = listening.communicate(timeout=PATIENCE_S)
        assert "ff00 ff00 ff00 ff00" in shown


def test_not_beyond_the_link(client: Namespace) -> None:
    """The server is behind a router, which is not asked."""
    peer, own = (shell(client, f"{name} -c 1 -W 1 -r {SERVER}") for name in ("ping", "echowire ping"))
    assert (peer.returncode, own.returncode) == (1, 2)
    assert counts(peer) == counts(own) == (1, 0)
    assert "seq=1 no route (ENETUNREACH)" in own.stdout


def test_the_record_of_a_route_is_found_otherwise(client: Namespace) -> None:
    own = shell(client, f"echowire ping -R {SERVER}")
    assert own.returncode == 2 and "the way of packets is found by --path" in own.stderr


def test_a_name_that_is_unknown(client: Namespace) -> None:
    peer, _ = both(client, "ping -c 1 no.such.name.invalid", "echowire ping -c 1 no.such.name.invalid")
    assert peer.returncode == 2


def test_quit_tells_how_it_stands_and_goes_on(client: Namespace) -> None:
    for command in (["ping"], [sys.executable, "-m", "echowire", "ping"]):
        running = client.start(*command, "-i", "0.2", SERVER, stdout=-1, stderr=-1, text=True)
        assert running.stdout and running.stderr
        while (said := running.stdout.readline()) and "seq=2" not in said:
            pass
        running.send_signal(signal.SIGQUIT)
        told = next(line for line in running.stderr if "packets" in line)
        assert re.search(r"\d+/\d+ packets, 0% loss, min/avg/(ewma/)?max = ", told)
        assert "seq=" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0


@needs("fping")
def test_who_is_alive(client: Namespace) -> None:
    hosts = f"{ROUTER} {NOBODY} {SERVER}"
    peer, own = both(client, f"fping -a -r 1 {hosts}", f"echowire ping --alive {hosts}")
    assert sorted(peer.stdout.split()) == sorted(own.stdout.split()) == [ROUTER, SERVER]


@needs("fping")
def test_who_is_unreachable(client: Namespace) -> None:
    hosts = f"{ROUTER} {NOBODY} {SERVER}"
    peer, own = both(client, f"fping -u -r 1 {hosts}", f"echowire ping --unreachable {hosts}")
    assert peer.stdout.split() == own.stdout.split() == [NOBODY]


@needs("fping")
def test_a_range(client: Namespace) -> None:
    peer, own = both(client, "fping -a -q -r 0 -g 10.77.0.0/29", "echowire ping --alive -c 1 10.77.0.0/29")
    assert sorted(peer.stdout.split()) == sorted(own.stdout.split()) == ["10.77.0.1", ROUTER]


@needs("mtr")
@pytest.mark.parametrize("probe", ["", "-u", "-T"])
def test_the_path(client: Namespace, probe: str) -> None:
    peer, own = both(client, f"mtr -r -c 3 -n {probe} {SERVER}", f"echowire ping --path -c 3 -n {probe} {SERVER}")
    theirs = re.findall(r"^ *(\d+)\.\|-- ([\d.]+) +([\d.]+)%? +(\d+)", peer.stdout, re.MULTILINE)
    ours = re.findall(r"^ *(\d+)  ([\d.]+) +([\d.]+)% +(\d+)", own.stdout, re.MULTILINE)
    assert [(hop, address, float(loss), sent) for hop, address, loss, sent in ours] == [
        (hop, address, float(loss), sent) for hop, address, loss, sent in theirs
    ]
    assert [address for _, address, _, _ in ours] == [ROUTER, SERVER]
