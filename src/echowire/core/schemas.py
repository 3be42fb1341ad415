"""The JSON documents of this program: the one place that has their names, their versions, and what each of them is.

A document begins with its name and version. What a version has is in `docs/reference/json/NAME.schema.json`, where
`$defs/line` describes a line of --jsonl, if the document has such lines. A property that is added leaves the version
as it is; one that goes, or that means something else, makes it one higher. Pure, and imports nothing: it is loaded by
commands that are over in a tenth of a second.
"""

from __future__ import annotations


class Schema:
    """One document: `name` without the program's, `version`, `title` in a sentence, and the commands that print it.

    `whole` is what prints it as one document, `lines` what prints lines that belong to it; empty where nothing does.
    """

    __slots__ = ("lines", "name", "title", "version", "whole")

    def __init__(self, name: str, version: int, title: str, *, whole: str = "", lines: str = "") -> None:
        self.name, self.version, self.title, self.whole, self.lines = name, version, title, whole, lines

    @property
    def head(self) -> dict[str, object]:
        """What the document begins with: `schema` and `version`."""
        return {"schema": f"echowire.{self.name}", "version": self.version}


def document_head(name: str) -> dict[str, object]:
    """`schema` and `version` of the document `name`, such as `ping` or `sockets.groups`. Raises `KeyError`."""
    return SCHEMAS[name].head


_ALL = (
    Schema(
        "bench",
        1,
        "A load that was put on an endpoint: rates, latencies, losses, and what was the limit.",
        whole="bench --json",
        lines="bench --jsonl",
    ),
    Schema(
        "call",
        1,
        "A call: each address that was tried, each message with its reply, or each port of a scan.",
        whole="call --json",
        lines="call --jsonl",
    ),
    Schema(
        "capture",
        1,
        "What a capture of packets came to; its lines are the packets themselves.",
        lines="capture --jsonl",
    ),
    Schema("fields", 1, "The reference of the fields of packets.", whole="fields --json"),
    Schema(
        "group",
        1,
        "What was sent to many (a multicast group, a broadcast address), and who answered how well.",
        whole="call GROUP --json, bench GROUP --json, ping GROUP --json",
        lines="call GROUP --jsonl, bench GROUP --jsonl, ping GROUP --jsonl",
    ),
    Schema("interfaces", 1, "The interfaces on which packets can be captured.", whole="capture -D --json"),
    Schema(
        "objects", 1, "The bodies of HTTP messages that were written to files.", whole="read --export-objects --json"
    ),
    Schema(
        "path",
        1,
        "The way of packets to a target, hop by hop.",
        whole="ping --path --json",
        lines="ping --path --jsonl",
    ),
    Schema(
        "path_mtu",
        1,
        "The largest packet that comes to a target and back in one piece.",
        whole="ping --mtu --json",
        lines="ping --mtu --jsonl",
    ),
    Schema(
        "ping",
        1,
        "What probes of one or more targets found: loss, round trips, jitter, one-way delays.",
        whole="ping --json",
        lines="ping --jsonl",
    ),
    Schema(
        "reports",
        1,
        "Reports of a whole capture file, in the order in which they were asked for.",
        whole="read -z --json",
    ),
    Schema(
        "serve",
        1,
        "What a server did, from its start to its end.",
        whole="serve --json",
        lines="serve --jsonl",
    ),
    Schema(
        "sockets",
        1,
        "The sockets of a host at one moment, each with all that the kernel tells of it.",
        whole="sockets --json",
        lines="sockets --jsonl, --watch --jsonl, --events --jsonl",
    ),
    Schema(
        "sockets.counters",
        1,
        "The kernel's counters of its protocols, what they mean, and what moved since the last look.",
        whole="sockets --counters --json",
        lines="sockets --counters --watch --jsonl",
    ),
    Schema(
        "sockets.groups",
        1,
        "The sockets of a host counted by what they have in common.",
        whole="sockets --by --json",
        lines="sockets --by --jsonl, --by --watch --jsonl",
    ),
    Schema(
        "sockets.interfaces",
        1,
        "The interfaces of a host: their states, and what they carried, lost and refused.",
        whole="sockets --interfaces --json",
        lines="sockets --interfaces --watch --jsonl",
    ),
    Schema(
        "sockets.memberships",
        1,
        "The multicast groups that a host has joined, on which interfaces, and by which processes.",
        whole="sockets --groups --json",
    ),
    Schema("sockets.routes", 1, "The routes of a host, of both families.", whole="sockets --routes --json"),
    Schema(
        "sockets.summary", 1, "The sockets of a host counted by kind and state.", whole="sockets -s --json, --jsonl"
    ),
    Schema(
        "streams",
        1,
        "What both ends of each stream said, as it was written to files.",
        whole="read --export-streams --json",
    ),
)

SCHEMAS: dict[str, Schema] = {schema.name: schema for schema in _ALL}
"""Every document by its name."""
