"""`echowire read -z`: reports as they are typed, and what tshark prints for the same."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captures import needs_tshark
from tests.commands import run_command as echowire
from tests.core.packets.tcp.traffic import packet, traffic, write_pcap

DEV = Path(os.environ.get("ECHOWIRE_CAPTURES", "/nonexistent")) / "dev"
SAMPLE = (
    "PcapPlusPlus/Tests__ExamplesTest__pcap_examples__http-packets2.pcap",
    "PcapPlusPlus/Tests__Pcap++Test__PcapExamples__one_ipv6_http_stream.pcap",
    "PcapPlusPlus/Tests__Pcap++Test__PcapExamples__ip4_fragments.pcap",
    "PcapPlusPlus/Tests__Packet++Test__PacketExamples__ipv6_opt_fragments.pcap",
    "PcapPlusPlus/Tests__Packet++Test__PacketExamples__tcp-malformed.pcap",
    "zeek/testing__btest__Traces__mobile-ipv6__ipv6-mobile-routing.pcap",
    "zeek/testing__btest__Traces__cisco-fabric-path.pcap",
    "arkime/tests__pcap__tcp-reassembly-synthetic.pcap",
    "arkime/tests__pcap__tcpseq_synthetic.pcap",
)


@pytest.fixture(scope="module", params=["made", *SAMPLE])
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Traffic at random, and some real captures, disordered ones among them."""
    if request.param != "made":
        path = DEV / request.param
        if not path.is_file():
            pytest.skip("ECHOWIRE_CAPTURES does not have it")
        yield path
        return
    path = tmp_path_factory.mktemp("reports") / "made.pcap"
    rng = random.Random(5)
    steps = traffic(rng.randrange(1000), 12, 0.0)
    write_pcap(path, [packet(step) for step in steps], [step.time_us for step in steps])
    yield path


def tshark(path: Path, *reports: str) -> list[str]:
    words = [word for one in reports for word in ("-z", one)]
    done = subprocess.run(["tshark", "-n", "-q", "-r", str(path), *words], capture_output=True, check=True, timeout=60)
    return done.stdout.decode().splitlines()


REPORTS = (
    *(f"{what},{kind}" for what in ("conv", "endpoints") for kind in ("eth", "ip", "ipv6", "tcp", "udp", "sctp")),
    "conv,tcp,tcp.port == 80",
    "io,stat,1",
    "io,stat,0.5,tcp,tcp.len > 0",
    "io,stat,10,SUM(tcp.len)tcp.len,COUNT(tcp.len)tcp.len,MIN(frame.len)frame.len,MAX(frame.len)frame.len",
    "follow,udp,raw,0",
    *(f"follow,tcp,{mode},{stream}" for mode in ("ascii", "hex", "raw") for stream in range(4)),
)


@needs_tshark
def test_reports_are_tsharks(capture: Path) -> None:
    theirs = "\n".join(tshark(capture, *REPORTS))
    theirs = re.sub(r"Duration: (\d+)\.( +)", lambda one: f"Duration: {one[1]}.{'0' * len(one[2])}", theirs)
    for report in REPORTS:
        ran = echowire("read", capture, "-q", "-z", report)
        assert ran.status == 0, ran.err
        assert "\n".join(ran.out.splitlines()) in theirs, report


@needs_tshark
@pytest.mark.parametrize("stream", [0, 3])
def test_a_stream_as_yaml_is_tsharks_but_for_the_digits_that_a_float_has_not(capture: Path, stream: int) -> None:
    ran = echowire("read", capture, "-q", "-z", f"follow,tcp,yaml,{stream}")
    ours, theirs = (
        [f"{float(line.split()[1]):.6f}" if "timestamp" in line else line for line in lines if line]
        for lines in (ran.out.splitlines(), tshark(capture, f"follow,tcp,yaml,{stream}"))
    )
    assert ours == theirs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    steps = traffic(7, 3, 0.0)
    path = tmp_path / "a.pcap"
    write_pcap(path, [packet(step) for step in steps], [step.time_us for step in steps])
    return path


def test_several_reports_are_one_document(file: Path) -> None:
    names = ["conv,tcp", "endpoints,ip", "io,stat,1", "follow,tcp,raw,0", "expert", "flow,tcp", "verdict,0"]
    ran = echowire("read", file, "-q", "--json", *(word for one in names for word in ("-z", one)))
    document = json.loads(ran.out)
    assert document["schema"] == "echowire.reports"
    assert [one["report"] for one in document["reports"]] == [
        "conversations", "endpoints", "io,stat", "follow", "expert", "flow", "verdict",
    ]  # fmt: skip
    conversations = document["reports"][0]["conversations"]
    assert sum(one["frames"] for one in conversations) == len(document["reports"][5]["packets"])
    verdict = document["reports"][6]
    assert sum(verdict["totals_ns"].values()) == verdict["spans"][-1]["end_ns"] - verdict["spans"][0]["start_ns"]


def test_fields_are_printed_before_the_reports(file: Path) -> None:
    ran = echowire("read", file, "-T", "fields", "-e", "frame.number", "-c", "2", "-z", "conv,ip")
    assert ran.out.startswith("1\n2\n====")


@pytest.mark.parametrize(
    "wrong",
    [
        "nothing", "conv", "conv,ipx", "io,stat", "io,stat,-1", "io,stat,1e99", "io,stat,1,SUM(ip.src)",
        "follow,tcp,ascii", "follow,tcp,ascii,x", "follow,sctp,ascii,0", "verdict,x", "conv,tcp,ip.src ==",
        "flow,arp",
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(file: Path, wrong: str) -> None:
    ran = echowire("read", file, "-q", "-z", wrong)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("echowire: ")


def test_a_stream_that_is_not_there_is_said(file: Path) -> None:
    assert "not in the capture" in echowire("read", file, "-q", "-z", "verdict,99").out
    assert "Node 0: :0" in echowire("read", file, "-q", "-z", "follow,tcp,ascii,99").out
