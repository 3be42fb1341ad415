"""The kernel's counters of its protocols, at one moment and since an earlier one. Pure: text in, values out.

Formats: /proc/net/snmp and /proc/net/netstat have two lines a protocol, its names and its values; /proc/net/snmp6 one
line a counter (proc_pid_net(5)). A counter is called as nstat calls it.
"""

from __future__ import annotations

from dataclasses import dataclass

from echowire.core.sockets.counter_meanings import GAUGES, meaning_of, trouble_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def parse_pairs(lines: Iterable[str]) -> dict[str, int]:
    """The counters of /proc/net/snmp or netstat."""
    found: dict[str, int] = {}
    names: list[str] = []
    for line in lines:
        protocol, _, rest = line.partition(":")
        words = rest.split()
        if names and names[0] == protocol and words and _is_number(words[0]):
            for name, value in zip(names[1:], words, strict=False):
                found[protocol + name] = int(value)
            names = []
        else:
            names = [protocol, *words]
    return found


def parse_lines(lines: Iterable[str]) -> dict[str, int]:
    """The counters of /proc/net/snmp6."""
    rows = (line.split() for line in lines)
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and _is_number(row[1])}


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


@dataclass(frozen=True, slots=True)
class CounterChange:
    """A counter: its value, and how much it has risen since the last look; None where there was none.

    `is_gauge` says that it is a setting or a number of now, which has no sum.
    """

    name: str
    value: int
    change: int | None
    is_gauge: bool

    @property
    def meaning(self) -> str:
        """What it counts; empty where that is not known."""
        return meaning_of(self.name)

    @property
    def trouble(self) -> str:
        """What its rise means, where it is trouble and has risen; else empty."""
        return trouble_of(self.name) if self.has_moved and not self.is_gauge else ""

    @property
    def has_moved(self) -> bool:
        """Whether it has another value than at the last look; without one, whether it has any."""
        return bool(self.value if self.change is None else self.change)

    def document(self) -> dict[str, Any]:
        """The counter as JSON has it."""
        return {
            "name": self.name,
            "value": self.value,
            "change": self.change,
            "is_gauge": self.is_gauge,
            "meaning": self.meaning or None,
            "trouble": self.trouble or None,
        }


def changes(now: Mapping[str, int], before: Mapping[str, int] | None) -> list[CounterChange]:
    """Each counter of `now` with its change since `before`; None is the first look.

    A counter that has fallen began anew (the host, or the namespace), and counts from there.
    """
    found = []
    for name, value in now.items():
        change = None
        if before is not None:
            was = before.get(name, 0)
            change = value - was if value >= was or name in GAUGES else value
        found.append(CounterChange(name, value, change, name in GAUGES))
    return found
