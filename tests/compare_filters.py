"""Hold display filters against tshark on many real captures: does each choose the same packets?

    python -m tests.compare_filters [CAPTURES=$ECHOWIRE_CAPTURES/dev] [WORD]

All captures are joined to one file (mergecap), so that a filter is one call of each; WORD takes only filters that
contain it. Prints the filters that differ, with the first packets that only one of the two chose.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import echowire

FILTERS = Path(__file__).with_name("display_filters.txt")
NO_REASSEMBLY = ("ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE")
SHOWN = 5


def filters() -> list[str]:
    """The filters of the list."""
    return [line for line in FILTERS.read_text().splitlines() if line and not line.startswith("#")]


def by_tshark(file: Path, text: str) -> list[int] | str:
    """The numbers of the packets that tshark chooses, or what it says of the filter."""
    options = [word for one in NO_REASSEMBLY for word in ("-o", one)]
    command = ["tshark", "-n", "-r", str(file), *options, "-Y", text, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("tshark:") and "cut short" not in line]
    return said[0] if said and not done.stdout else [int(one) for one in done.stdout.split()]


def by_echowire(file: Path, text: str) -> list[int] | str:
    """The numbers of the packets that Echowire chooses, or what it says of the filter."""
    try:
        with echowire.read(file).filter(text).chunks("frame.number") as reading:
            return [number for chosen in reading for number in chosen.values("frame.number").values.tolist()]
    except echowire.FilterError as error:
        return str(error)


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
    differing = total = 0
    with tempfile.TemporaryDirectory() as room:
        file = Path(room) / "all.pcapng"
        left_out = list(joined(captures, file))
        print(
            f"{len(echowire.read(file))} packets; {len(left_out)} captures left out, which mergecap does not read whole"
        )
        for text in filters():
            if word not in text:
                continue
            total += 1
            theirs, ours = by_tshark(file, text), by_echowire(file, text)
            if theirs == ours:
                continue
            differing += 1
            print(f"{text}: {_difference(theirs, ours)}", flush=True)
    print(f"{total - differing} of {total} filters choose the same packets")
    return int(differing > 0)


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
