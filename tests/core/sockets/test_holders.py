"""Who holds a socket, as numbers, as people and in ss's words."""

from __future__ import annotations

from echowire.core.sockets.fields import HOLDER
from echowire.core.sockets.holders import Holders, Person

MANY = b"".join(HOLDER.pack(pid, fd) for pid, fd in ((7, 3), (7, 4), (9, 3)))


def test_holders_are_described_once_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def describe(pid: int) -> Person:
        asked.append(pid)
        return Person(pid, "a" if pid == 7 else 'od"\nd', "root", "it.service" if pid == 9 else "")

    holders = Holders({1: HOLDER.pack(7, 5), 2: MANY, 3: HOLDER.pack(9, -1)}, describe)
    assert asked == [] and holders.get(4) == [] and holders.text(4) == "" and holders.text(0) == ""
    assert holders.text(1) == ' users:(("a",pid=7,fd=5,user=root))'
    assert [(one.process.pid, one.fd) for one in holders.get(2)] == [(7, 3), (7, 4), (9, 3)]
    assert holders.text(2) == (
        ' users:(("a",pid=7,fd=3,user=root),("a",pid=7,fd=4,user=root),'
        '("od"\\nd",pid=9,fd=3,user=root,unit=it.service))'
    )
    assert holders.get(3)[0].document() == {"pid": 9, "fd": -1, "name": 'od"\nd', "user": "root", "unit": "it.service"}
    assert asked == [7, 9]
