"""`echowire read -T json` and `-T ek` without `-e`: all of each packet, as tshark prints it."""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.captures import PACKETS, needs_tshark, write_capture
from tests.commands import run_command as echowire
from tests.core.packets.tcp.traffic import CLIENT, SERVER, SYN, ipv4, tcp, write_pcap

DEV = Path(os.environ.get("ECHOWIRE_CAPTURES", "/nonexistent")) / "dev"
REAL = (
    "zeek/testing__btest__Traces__http__entity_gap.pcap",
    "PcapPlusPlus/Tests__Pcap++Test__PcapExamples__ip4_fragments.pcap",
    "zeek/testing__btest__Traces__ipv6-fragmented-dns.pcap",
)
TSHARK = ("tshark", "-n", "-o", "ip.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE", "-c", "50")

Found = dict[tuple[str, str], list[Any]]


def values_of(layers: dict[str, Any]) -> Found:
    """All values by layer and key."""
    found: Found = defaultdict(list)

    def walk(layer: str, inner: dict[str, Any]) -> None:
        for key, value in inner.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    walk(layer or key, one)
                else:
                    found[layer, key].append(one)

    walk("", layers)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "a.pcap")


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """A SYN with all usual options, some of them twice."""
    some = bytes.fromhex("020405b4 0402 080a 00000001 00000000 01 030307 01 01 00")
    write_pcap(tmp_path / "b.pcap", [ipv4(6, tcp(1000, 5000, flags=SYN, options=some), CLIENT, SERVER)])
    return tmp_path / "b.pcap"


def agree(ours: Found, theirs: Found, unlike: frozenset[str]) -> int:
    """How many values both have; all must be equal, but for the keys `unlike`."""
    both = [key for key in ours if key in theirs and key[1] not in unlike]
    for key in both:
        assert ours[key] == theirs[key], key
    return len(both)


# Names of protocols that are not known here; what tshark found in the frames of another.
UNLIKE = frozenset({"frame.protocols", "frame_frame_protocols", "text"})


@needs_tshark
@pytest.mark.parametrize("name", ["made", "options", *REAL])
def test_values_are_tsharks(name: str, file: Path, options: Path) -> None:
    path = {"made": file, "options": options}.get(name, DEV / name)
    if not path.is_file():
        pytest.skip("ECHOWIRE_CAPTURES does not have it")
    done = subprocess.run(
        [*TSHARK, "-r", path, "-T", "json", "--no-duplicate-keys"], capture_output=True, check=True, timeout=60
    )
    theirs = [values_of(one["_source"]["layers"]) for one in json.loads(done.stdout)]
    ran = echowire("read", path, "-c", 50, "-T", "json")
    ours = [values_of(one["_source"]["layers"]) for one in json.loads(ran.out)]
    assert len(ours) == len(theirs)
    assert sum(agree(a, b, UNLIKE) for a, b in zip(ours, theirs, strict=True)) > 25 * len(ours)


@needs_tshark
def test_lines_for_elasticsearch_are_tsharks(options: Path) -> None:
    done = subprocess.run([*TSHARK, "-r", options, "-T", "ek"], capture_output=True, check=True, timeout=60)
    ours, theirs = (
        [json.loads(line) for line in text.splitlines()]
        for text in (echowire("read", options, "-T", "ek").out, done.stdout.decode())
    )
    assert [list(one) for one in ours] == [["index"], ["timestamp", "layers"]]
    assert ours[1]["timestamp"] == theirs[1]["timestamp"]
    # What tshark prints twice is the last in a reader.
    unlike = UNLIKE | {"tcp_tcp_option_kind", "tcp_tcp_option_len", "tcp_options_nop"}
    assert agree(values_of(ours[1]["layers"]), values_of(theirs[1]["layers"]), unlike) > 50


def test_what_is_there_several_times_is_an_array(file: Path, options: Path) -> None:
    (packet,) = json.loads(echowire("read", file, "-T", "json", "-Y", "ip#2").out)
    layers = packet["_source"]["layers"]
    assert [one["ip.src"] for one in layers["ip"]] == ["1.1.1.1", "10.0.0.1"]
    (packet,) = json.loads(echowire("read", options, "-T", "json").out)
    inner = packet["_source"]["layers"]["tcp"]["tcp.options_tree"]
    assert inner["tcp.options.nop"] == ["01", "01", "01"]
    assert inner["tcp.options.mss_tree"]["tcp.options.mss_val"] == "1460"


def test_a_capture_is_one_array(file: Path) -> None:
    assert len(json.loads(echowire("read", file, "-T", "json").out)) == len(PACKETS)
    assert json.loads(echowire("read", file, "-T", "json", "-Y", "frame.number > 99").out) == []


def test_fields_must_be_named_for_lines(file: Path) -> None:
    ran = echowire("read", file, "-T", "fields")
    assert (ran.status, ran.out) == (2, "")
