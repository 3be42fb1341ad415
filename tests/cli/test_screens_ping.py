"""The live views of ping and capture as they look: at 80 by 24 and 200 by 50, after a change of size, after Ctrl-C."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

import pytest

from echowire.cli.ping_rows import COLUMNS, HOP_COLUMNS
from tests.netns import Namespace, chain
from tests.peers import needs, needs_root
from tests.screens import Screen, screen

pytestmark = [needs_root, needs("tmux")]

COMMAND = (sys.executable, "-m", "echowire")
SIZES = [(80, 24), (200, 50)]
HOSTS = ("10.77.0.2", "10.77.2.2", "10.77.0.99")
"""One that is near, one that is far, one that is not there."""

WORDS = {*COLUMNS, *HOP_COLUMNS, "Last"}
FIGURE = re.compile(r"\d[\d,.]*( ?(ns|µs|ms|s|%))?$")


@pytest.fixture(scope="module")
def client() -> Iterator[Namespace]:
    with chain(4) as hosts:
        yield hosts[0]


def header(lines: Sequence[str], first: str) -> list[str]:
    """The names of the columns of the table on the screen; empty while there is none."""
    return next((line.split() for line in lines if line.split()[:1] == [first]), [])


def rows(lines: Sequence[str], first: str) -> list[str]:
    """What stands beneath the header."""
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == [first])
    return [line for line in lines[at + 1 :] if line.strip()]


def assert_whole(lines: Sequence[str], first: str, width: int, starts: Sequence[str]) -> None:
    """Each name of a column is whole, each row has its line, and no figure is cut."""
    assert set(header(lines, first)) <= WORDS
    shown = [row.split() for row in rows(lines, first)]
    assert [row[0] for row in shown[: len(starts)]] == list(starts)
    assert all(len(line) <= width for line in lines)
    assert not any("…" in cell for row in shown for cell in row if FIGURE.match(cell.rstrip("…")))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_several_hosts(client: Namespace, width: int, height: int) -> None:
    with screen(client, width, height, [*COMMAND, "ping", "-i", "100ms", *HOSTS]) as shown:
        lines = shown.wait(lambda lines: header(lines, "Target") and "unreachable" in "".join(lines))
        assert_whole(lines, "Target", width, HOSTS)
        assert {"Sent", "Recv", "Loss", "Answer"} <= set(header(lines, "Target"))
        assert ("StdDev" in header(lines, "Target")) == (width == 200)
        assert sum("Target" in line for line in lines) == 1
        after_resize(shown, "Target", HOSTS)
        shown.press("C-c")
        lines = shown.wait(lambda lines: "3 targets, 2 up" in "".join(lines))
        assert {"Sent", "Recv", "Loss"} <= set(header(lines, "Target"))
        shown.assert_restored()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_path(client: Namespace, width: int, height: int) -> None:
    hops = ("1", "2", "3")
    with screen(client, width, height, [*COMMAND, "ping", "--path", "--live", "-i", "100ms", "10.77.2.2"]) as shown:
        lines = shown.wait(lambda lines: header(lines, "Hop") and len(rows(lines, "Hop")) >= 3)
        assert_whole(lines, "Hop", width, hops)
        assert {"Address", "Loss", "Sent"} <= set(header(lines, "Hop"))
        after_resize(shown, "Hop", hops)
        shown.press("C-c")
        shown.assert_restored()


def after_resize(shown: Screen, first: str, starts: Sequence[str]) -> None:
    """Narrower, then wider: the table is drawn anew, whole."""
    for width, height in ((70, 20), (120, 30)):
        shown.resize(width, height)
        lines = shown.wait(lambda lines: sum(line.split()[:1] == [first] for line in lines) >= 1 and (
            [row.split()[0] for row in rows(lines, first)][: len(starts)] == list(starts)
        ))  # fmt: skip
        assert_whole(lines, first, width, starts)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_one_host(client: Namespace, width: int, height: int) -> None:
    with screen(client, width, height, [*COMMAND, "ping", "-i", "100ms", "10.77.2.2"]) as shown:
        shown.wait(lambda lines: "seq=3" in "".join(lines))
        shown.quit()
        lines = shown.wait(lambda lines: re.search(r"\n10\.77\.2\.2: \d+/\d+ packets, 0% loss", "\n".join(lines)))
        after = max(int(number) for number in re.findall(r"seq=(\d+)", "".join(lines)))
        shown.wait(lambda lines: f"seq={after + 2}" in "".join(lines))  # it goes on
        shown.press("C-c")
        shown.wait(lambda lines: "Round trip:" in "".join(lines))
        shown.assert_restored()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_packet_list(client: Namespace, width: int, height: int) -> None:
    with screen(client, width, height, [*COMMAND, "capture", "-i", "veth0", "icmp"]) as shown:
        shown.wait(lambda lines: "0 packets" in "".join(lines))
        client.run("ping", "-c", "3", "-i", "0.2", "10.77.2.2")
        lines = shown.wait(lambda lines: "6 packets" in lines[-1])
        listed = [line for line in lines if "→" in line]
        assert len(listed) == 6
        assert all(re.search(r"ICMP( \d+)? .*Echo \(ping\) re", line) for line in listed), "\n".join(listed)
        assert [line.split()[0] for line in listed] == ["1", "2", "3", "4", "5", "6"]
        assert all(len(line) <= width for line in lines)
        shown.resize(70, 20)
        client.run("ping", "-c", "1", "10.77.2.2")
        lines = shown.wait(lambda lines: "8 packets" in lines[-1])
        assert "Echo (ping) reply" in [line for line in lines if "→" in line][-1]
        shown.press("C-c")
        shown.wait(lambda lines: "8 packets captured" in "".join(lines))
        shown.assert_restored()
