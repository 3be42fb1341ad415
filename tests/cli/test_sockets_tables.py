"""The tables beside the sockets, as typed; `tests/test_habits_netstat.py` compares what they hold with netstat's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--groups", "--routes"), "--groups and --routes are two tables; give one of them"),
        (("-t", "--counters"), "--tcp is about sockets, and --counters is another table"),
        (("--routes", "--watch"), "--watch is for --counters and --interfaces"),
        (("--counters", "--watch", "0"), "--watch 0 would never end looking"),
        (("--counters", "--watch", "--json"), "--watch has no one document"),
        (("--groups", "--jsonl"), "--jsonl gives a line a look"),
        (("--interfaces", "-c", "3"), "--count ends --watch"),
        (("--routes", "10.0.0.1"), "--routes takes no filter"),
        (("--groups", "-N", "no-such-namespace"), "Name one that 'ip netns' lists"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words: tuple[str, ...], said: str) -> None:
    done = run_command("sockets", *words)
    assert (done.status, done.out) == (2, "")
    assert said.lower() in done.err.lower() and done.err.count("\n") == 1


def test_a_pattern_chooses_and_no_case_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = run_command("sockets", "--counters", "-a", "tcpextlisten*", "IpForwarding")
    assert [line.lstrip("! ").split()[0] for line in done.out.splitlines()[1:]] == [
        "IpForwarding",
        "TcpExtListenOverflows",
        "TcpExtListenDrops",
    ]
    assert "connections dropped because an accept queue was full" in done.out


def test_a_look_that_cannot_be_kept_is_shown_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody else has the place, or all may read it, nothing is kept there and nothing is taken from it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "echowire"
    place.mkdir()
    place.chmod(0o777)
    for _ in range(2):
        done = run_command("sockets", "--counters", "Ip*")
        assert done.status == 0 and "since start" in done.out
    assert list(place.iterdir()) == []
    place.chmod(0o700)
    run_command("sockets", "--counters")
    [kept] = place.iterdir()
    kept.write_text("no JSON")
    assert "since start" in run_command("sockets", "--counters", "Ip*").out
    assert " in " in run_command("sockets", "--counters", "-a", "Ip*").out.splitlines()[0]


def test_interfaces_that_are_off_are_shown_where_all_are_asked_for() -> None:
    names = {line.split()[0] for line in run_command("sockets", "--interfaces", "-a").out.splitlines()[1:]}
    assert names == {path.name for path in Path("/sys/class/net").iterdir()} - {"bonding_masters"}
    assert run_command("sockets", "--interfaces", "no-such*").out.count("\n") == 1
