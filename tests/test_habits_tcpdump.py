"""What people type from habit, as transcripts: tcpdump beside `echowire capture` and `echowire read`, on one link.

Two hosts, `client` (10.77.0.1) and `server` (10.77.0.2). Each test runs the real program and ours, and compares what
one looks for: which packets were taken, and that either reads what the other wrote.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns import Namespace, chain
from tests.peers import needs, needs_root
from tests.processes import PATIENCE_S

pytestmark = [needs_root, needs("tcpdump", "ping")]

SERVER = "10.77.0.2"
ECHOWIRE = shlex.join([sys.executable, "-m", "echowire"])
Running = subprocess.Popen[str]


@pytest.fixture(scope="module")
def client() -> Iterator[Namespace]:
    with chain(2) as hosts:
        yield hosts[0]


def started(client: Namespace, line: str) -> Running:
    """A line of shell that captures, once it does."""
    line = re.sub(r"\bechowire\b", ECHOWIRE, line, count=1) if line.startswith("echowire") else line
    running: Running = client.start("sh", "-c", line, stdout=-1, stderr=-1, text=True)
    assert running.stderr
    for said in running.stderr:
        if "listening on" in said or "Capturing on" in said:
            return running
    raise AssertionError(f"{line} ended: {running.communicate()[0]}")


def ended(running: Running) -> str:
    """What it printed."""
    out, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said
    return out


def done(client: Namespace, line: str) -> subprocess.CompletedProcess[str]:
    """A line that ends by itself."""
    line = line.replace("echowire", ECHOWIRE, 1)
    command = ["ip", "netns", "exec", client.name, "sh", "-c", line]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def ping(client: Namespace, count: int = 3) -> None:
    client.run("ping", "-c", str(count), "-i", "0.2", SERVER)


def sequences(text: str) -> list[tuple[str, str]]:
    """Request or reply, and the sequence number, of each packet of ICMP in a list of either."""
    return re.findall(r"(request|reply),? .*?seq[= ](\d+)", text)


def test_the_interfaces(client: Namespace) -> None:
    theirs = re.findall(r"^\d+\.(\S+)", done(client, "tcpdump -D").stdout, re.MULTILINE)
    ours = re.findall(r"^\d+\. (\S+)", done(client, "echowire capture -D").stdout, re.MULTILINE)
    assert {"lo", "veth0", "any"} <= set(ours) <= set(theirs)


@pytest.mark.parametrize("switches", ["-n", "-nn", "-p", "-s 96", "-s 0"])
def test_so_many_packets_of_an_interface(client: Namespace, switches: str) -> None:
    runs = [started(client, f"{name} -i veth0 -c 4 {switches} icmp") for name in ("tcpdump -l", "echowire capture")]
    ping(client)
    theirs, ours = (sequences(ended(running)) for running in runs)
    assert ours == theirs == [("request", "1"), ("reply", "1"), ("request", "2"), ("reply", "2")]


@pytest.mark.parametrize(
    "expression",
    [
        "icmp and host 10.77.0.2",
        "icmp[icmptype] == icmp-echo",
        "src 10.77.0.1 and not port 22",
        "ip proto 1 and greater 60",
        "ip[8] == 64 and dst net 10.77.0.0/24",
        "icmp or (udp port 53 and not broadcast)",
    ],
)
def test_filters_take_the_same(client: Namespace, tmp_path: Path, expression: str) -> None:
    tmp_path.chmod(0o777)
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / "ours.pcap"
    runs = [
        started(client, f"exec timeout -s INT 2 tcpdump -i veth0 -w {theirs} '{expression}'"),
        started(client, f"echowire capture -i veth0 -a duration:1.5 -w {ours} '{expression}'"),
    ]
    ping(client)
    for running in runs:
        running.communicate(timeout=PATIENCE_S)
    listed = [done(client, f"tcpdump -nt -r {path} icmp").stdout for path in (theirs, ours)]
    assert listed[0] == listed[1] and sequences(listed[0])


@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_either_reads_what_the_other_wrote(client: Namespace, tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o777)
    theirs, ours = tmp_path / "theirs.pcap", tmp_path / name
    runs = [
        started(client, f"tcpdump -i veth0 -c 4 -w {theirs} icmp"),
        started(client, f"echowire capture -i veth0 -c 4 -w {ours} icmp"),
    ]
    ping(client)
    for running in runs:
        ended(running)
    read = [
        done(client, f"{tool} {path}").stdout for tool in ("tcpdump -nr", "echowire read") for path in (theirs, ours)
    ]
    assert len({tuple(sequences(text)) for text in read}) == 1
    assert len(sequences(read[0])) == 4


def test_a_capture_down_a_pipe(client: Namespace) -> None:
    """`tcpdump -w - | tcpdump -r -`, with ours on either side."""
    lines = [
        "tcpdump -U -i veth0 -c 4 -w - icmp | tcpdump -nr -",
        "echowire capture -i veth0 -c 4 -w - icmp | tcpdump -nr -",
        f"tcpdump -U -i veth0 -c 4 -w - icmp | {ECHOWIRE} read -",
    ]
    runs = [started(client, line) for line in lines]
    ping(client)
    listed = [sequences(ended(running)) for running in runs]
    assert listed[0] == listed[1] == listed[2] and len(listed[0]) == 4


def test_link_headers(client: Namespace) -> None:
    """tcpdump's -e; here a field is named, by Wireshark's name."""
    runs = [
        started(client, "tcpdump -l -i veth0 -c 1 -ne icmp"),
        started(client, "echowire capture -i veth0 -c 1 -T fields -e eth.src -e eth.dst icmp"),
    ]
    ping(client, 1)
    theirs, ours = (ended(running) for running in runs)
    source, destination = re.findall(r"((?:[0-9a-f]{2}:){5}[0-9a-f]{2})", theirs)[:2]
    assert ours.split() == [source, destination]


@pytest.mark.parametrize(
    "arguments", ["-i nope0", "-i veth0 tcp prot 3", "-i veth0 -w /nowhere/a.pcap", "-i veth0 -c 0", "-i veth0 -c x"]
)
def test_what_cannot_be(client: Namespace, arguments: str) -> None:
    theirs, ours = done(client, f"tcpdump {arguments}"), done(client, f"echowire capture {arguments}")
    assert theirs.returncode and ours.returncode == 2
    assert ours.stderr.startswith("echowire: ") and len(ours.stderr.splitlines()) == 1
