"""Hold display filters against tshark on many real captures: does each choose the same packets?

    python -m tests.compare_filters [CAPTURES=$ECHOWIRE_CAPTURES/dev] [WORD]

All captures are joined to one file (mergecap). tshark reads it once, with a listener for each filter (`choose.lua`),
and Echowire once for each. WORD takes only filters that contain it. Prints the filters that differ, with the first
packets that only one of the two chose.

Packets in which the two see other protocols (frame.protocols) are counted and left out: that is not the filter's doing.
So are, for some filters, those of which tshark says what is not so: `MISTAKEN` tells which, and why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import echowire

FILTERS = Path(__file__).with_name("display_filters.txt")
LISTENERS = Path(__file__).with_name("choose.lua")
NO_REASSEMBLY = ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE")
OPTIONS = tuple(word for one in NO_REASSEMBLY for word in ("-o", one))
SHOWN = 5

MEANT = ((re.compile(r"== ff$"), "== :ff"),)
"""What tshark is asked instead: it takes `ff` alone for a protocol (Foundation Fieldbus), which we do not know."""


class Mistake(NamedTuple):
    """What tshark 4.0 says wrong of the packets that pass `packets`, in filters in which `filters` finds something."""

    filters: str
    packets: str
    reason: str


MISTAKEN = (
    Mistake(
        r"frame\.time",
        "frame.time_epoch > 3409787648",
        "times are compared by a difference of 32 bits: what is 2^31 s later than 2010, the filters' first, is earlier",
    ),
    Mistake(
        r"\bframe( contains|\[)",
        "frame.encap_type == 129 && ip.len < frame.len",
        "where an IPv4 datagram is the whole packet, what follows it is no part of `frame`",
    ),
    Mistake(r"len\(ip\)", "ip.len < ip.hdr_len", "its length is the header's that is not there, beyond the datagram"),
)


def filters() -> list[str]:
    """The filters of the list."""
    return [line for line in FILTERS.read_text().splitlines() if line and not line.startswith("#")]


def by_tshark(file: Path, text: str) -> list[int] | str:
    """The numbers of the packets that tshark chooses, or what it says of the filter."""
    command = ["tshark", "-n", "-r", str(file), *OPTIONS, "-Y", text, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("tshark:") and "cut short" not in line]
    return said[0] if said and not done.stdout else [int(one) for one in done.stdout.split()]


def all_by_tshark(file: Path, texts: Sequence[str], room: Path) -> list[list[int] | str]:
    """The same for many filters in one reading. What is malformed in a packet that an ICMP error quotes keeps that
    packet from every listener; "" as a filter tells which packets come to one."""
    asked, chosen = room / "filters.txt", room / "chosen.txt"
    asked.write_text("".join(f"{text}\n" for text in texts))
    command = ["tshark", "-q", "-n", "-r", str(file), *OPTIONS, "-X", f"lua_script:{LISTENERS}"]
    environment = {**os.environ, "FILTERS": str(asked), "CHOSEN": str(chosen)}
    subprocess.run(command, env=environment, capture_output=True, check=False)
    found: list[list[int] | str] = [[] for _ in texts]
    for line in chosen.read_text().splitlines():
        number, _, what = line.partition("\t")
        packets = found[int(number) - 1]
        if what.startswith("!"):
            found[int(number) - 1] = what[1:]
        elif isinstance(packets, list):
            packets.append(int(what))
    return found


def by_echowire(file: Path, text: str) -> list[int] | str:
    """The numbers of the packets that Echowire chooses, or what it says of the filter."""
    try:
        with echowire.read(file).filter(text).chunks("frame.number") as reading:
            return [number for chosen in reading for number in chosen.values("frame.number").values.tolist()]
    except echowire.FilterError as error:
        return str(error)


def seen_differently(file: Path) -> set[int]:
    """The numbers of the packets in which the two see other protocols."""
    command = ["tshark", "-n", "-r", str(file), *OPTIONS, "-T", "fields", "-e", "frame.protocols"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    ours = echowire.read(file).frame("frame.protocols")["frame.protocols"].to_list()
    pairs = enumerate(zip(theirs, ours, strict=True), 1)
    return {number for number, (a, b) in pairs if _known(a) != _known(b or "")}


@cache
def _known(path: str) -> list[str]:
    """The protocols of a packet, without those that Echowire does not know, which are data to it."""
    known = {one.name for one in echowire.fields() if one.type == "Protocol"} | {"ethertype"}
    return [name for name in path.split(":") if name in known and name != "data"]


def joined(captures: Path, to: Path) -> Iterator[Path]:
    """All captures in one file, as far as mergecap can read them; gives those that it cannot."""
    files = sorted(path for path in captures.rglob("*") if path.is_file() and path.suffix != ".md")
    readable = []
    for path in files:
        done = subprocess.run(["mergecap", "-a", "-w", os.devnull, str(path)], capture_output=True, check=False)
        if done.returncode == 0:
            readable.append(str(path))
        else:
            yield path
    subprocess.run(["mergecap", "-a", "-w", str(to), *readable], check=True, capture_output=True)


def main(captures: Path, word: str) -> int:
    """Compare; the exit status."""
    wanted = [text for text in filters() if word in text]
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        file = room / "all.pcapng"
        left_out = list(joined(captures, file))
        every = _numbers(file, "frame")
        print(f"{len(every)} packets; {len(left_out)} captures left out, which mergecap does not read whole")
        heard, *answers = all_by_tshark(file, ["", *(_meant(text) for text in wanted)], room)
        unheard = every.difference(heard)
        doubtful = seen_differently(file)
        print(f"{len(doubtful)} packets left out, in which the two see other protocols, {len(unheard)} not heard of")
        mistaken = [(re.compile(one.filters), _numbers(file, one.packets)) for one in MISTAKEN]
        for one, (_, packets) in zip(MISTAKEN, mistaken, strict=True):
            print(f"{len(packets - doubtful)} left out of filters with {one.filters}: {one.reason}")
        for text, theirs in zip(wanted, answers, strict=True):
            wrong = set[int]().union(*(packets for concerned, packets in mistaken if concerned.search(text)))
            without = doubtful | unheard | wrong
            ours = by_echowire(file, text)
            if isinstance(theirs, list) and isinstance(ours, list):
                theirs, ours = ([number for number in some if number not in without] for some in (theirs, ours))
            if theirs == ours:
                continue
            differing += 1
            print(f"{text}: {_difference(theirs, ours)}", flush=True)
    print(f"{len(wanted) - differing} of {len(wanted)} filters choose the same packets")
    return int(differing > 0)


def _numbers(file: Path, text: str) -> set[int]:
    found = by_echowire(file, text)
    assert isinstance(found, list), found
    return set(found)


def _meant(text: str) -> str:
    for spelling, instead in MEANT:
        text = spelling.sub(instead, text)
    return text


def _difference(theirs: list[int] | str, ours: list[int] | str) -> str:
    if isinstance(theirs, str) or isinstance(ours, str):
        said = [one if isinstance(one, str) else f"{len(one)} packets" for one in (theirs, ours)]
        return f"tshark: {said[0]}; echowire: {said[1]}"
    missed, more = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    return f"{len(theirs)} of tshark; {len(missed)} missed {missed[:SHOWN]}, {len(more)} more {more[:SHOWN]}"


if __name__ == "__main__":
    given = sys.argv[1:]
    default = Path(os.environ.get("ECHOWIRE_CAPTURES", ""), "dev")
    sys.exit(main(Path(given[0]) if given else default, given[1] if len(given) > 1 else ""))
