"""Processes as options of a packet, and back as fields."""

from __future__ import annotations

import pytest

from echowire.core.captures.numbers import MAX_NOTE_BYTES
from echowire.core.captures.records import Records, parse_options
from echowire.core.packets.dissect import Dissector
from echowire.core.packets.processes import EPB_PROCESSID_THREADID, Owner, note, sides

CURL, NGINX = Owner(812, "curl", "alice", 813), Owner(99, "nginx", "root, nginx.service")


@pytest.mark.parametrize(
    ("sender", "receiver", "comment"),
    [
        (CURL, NGINX, "process: curl[812] (alice) → nginx[99] (root, nginx.service)"),
        (CURL, None, "process: curl[812] (alice) →"),
        (None, NGINX, "process: → nginx[99] (root, nginx.service)"),
        (Owner(7, "a [b] (c)"), Owner(8, ""), "process: a [b] (c)[7] → [8]"),
    ],
)
def test_what_is_noted_is_read_again(sender: Owner | None, receiver: Owner | None, comment: str) -> None:
    ids, said = parse_options(note(sender, receiver), False)
    first = sender or receiver
    assert first is not None
    assert ids == (EPB_PROCESSID_THREADID, first.pid.to_bytes(4, "little") + first.thread.to_bytes(4, "little"))
    assert said.value.decode() == comment
    found = sides(comment)
    assert found == (sender and sender._replace(thread=0), receiver)


def test_what_is_too_long_keeps_the_processes() -> None:
    long = Owner(4_000_000, "fifteen-letters", "a" * 100)
    raw = note(long, long)
    assert len(raw) <= MAX_NOTE_BYTES
    assert sides(parse_options(raw, False)[1].value.decode()) == (long._replace(of=""), long._replace(of=""))


@pytest.mark.parametrize("comment", ["", "process: ", "process: curl", "process: curl[x] →", "hello → world"])
def test_other_comments_are_none(comment: str) -> None:
    assert sides(comment) is None


def test_they_are_fields_of_the_frame() -> None:
    comments = {1: ["noted by hand", "process: curl[812] (alice) → nginx[99] (root)"], 2: ["process: → nginx[99]"]}
    packets = Dissector(["proc.pid", "proc.name", "proc.srcpid", "proc.dstname", "proc.of"]).dissect(
        Records.of([b"a", b"b", b"c"], [0, 0, 0], comments=comments)
    )
    assert packets.values("proc.pid").rows.tolist() == [1, 1, 2]
    assert packets.values("proc.pid").values.tolist() == [812, 99, 99]
    assert packets.values("proc.name").values.tolist() == ["curl", "nginx", "nginx"]
    assert packets.values("proc.srcpid").rows.tolist() == [1]
    assert packets.values("proc.dstname").rows.tolist() == [1, 2]
    assert packets.values("proc.of").values.tolist() == ["alice", "root", ""]
