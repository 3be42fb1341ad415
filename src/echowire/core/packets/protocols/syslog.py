"""Syslog over UDP (RFC 3164, RFC 5424): a priority in angle brackets, and a line of text."""

from __future__ import annotations

import re

from echowire.core.packets.columns import Type
from echowire.core.packets.layers import Field, Layer, Protocol
from echowire.core.packets.walk import Walk

MAX_PRIORITY_DIGITS = 3

_FACILITIES = {
    0: "KERN - kernel messages",
    1: "USER - random user-level messages",
    2: "MAIL - mail system",
    3: "DAEMON - system daemons",
    4: "AUTH - security/authorization messages",
    5: "SYSLOG - messages generated internally by syslogd",
    6: "LPR - line printer subsystem",
    7: "NEWS - network news subsystem",
    8: "UUCP - UUCP subsystem",
    9: "CRON - clock daemon (BSD, Linux)",
    10: "AUTHPRIV - security/authorization messages (private)",
    11: "FTP - ftp daemon",
    12: "NTP - ntp subsystem",
    13: "LOGAUDIT - log audit",
    14: "LOGALERT - log alert",
    15: "CRON - clock daemon (Solaris)",
    **{16 + one: f"LOCAL{one} - reserved for local use" for one in range(8)},
}
_LEVELS = {
    0: "EMERG - system is unusable",
    1: "ALERT - action must be taken immediately",
    2: "CRIT - critical conditions",
    3: "ERR - error conditions",
    4: "WARNING - warning conditions",
    5: "NOTICE - normal but significant condition",
    6: "INFO - informational",
    7: "DEBUG - debug-level messages",
}

_FACILITY = Field("syslog.facility", "Facility", Type.UINT8)
_LEVEL = Field("syslog.level", "Level", Type.UINT8)
_MESSAGE = Field("syslog.msg", "Message", Type.STRING)
_TIME = Field("syslog.timestamp_rfc3164", "Syslog timestamp (RFC3164)", Type.STRING)
_VERSION = Field("syslog.version", "Syslog version", Type.STRING)
_HOST = Field("syslog.hostname", "Syslog hostname", Type.STRING)
_APPLICATION = Field("syslog.appname", "Syslog app name", Type.STRING)
_PROCESS = Field("syslog.procid", "Syslog process id", Type.STRING)
_ID = Field("syslog.msgid", "Syslog message id", Type.STRING)

_OLD = re.compile(
    rb"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<host>[^ ]+) (?P<process>[^ :\[]+)?(?P<id>.*)", re.S
)
"""RFC 3164, 4.1: a time without a year, a host and a tag."""
_NEW = re.compile(
    rb"(?P<version>[1-9]\d{0,2}) (?P<time>[^ ]+) (?P<host>[^ ]+) (?P<application>[^ ]+) (?P<process>[^ ]+) "
    rb"(?P<id>.*)",
    re.S,
)
"""RFC 5424, 6."""


def _walk(walk: Walk) -> None:
    at = 0
    priority: int | None = None
    if walk.wire_size and walk.u8(0) == ord("<"):
        at, priority = 1, 0
        while at <= MAX_PRIORITY_DIGITS and chr(walk.u8(at)) in "0123456789":
            priority = 10 * priority + walk.u8(at) - ord("0")
            at += 1
        at += walk.u8(at) == ord(">")
    text = walk.data[at:].decode("utf-8", "replace")
    said = text.replace("\0", "\\000") if "\0" in text else text
    if priority is not None:
        facility, level = priority >> 3 & 0x7F, priority & 7
        names = _FACILITIES.get(facility, "UNKNOWN").split(" ")[0], _LEVELS[level].split(" ")[0]
        walk.add(_FACILITY, facility, 0, at, _bits(facility, _FACILITIES, "Facility", 0x3F8, 3))
        walk.add(_LEVEL, level, 0, at, _bits(level, _LEVELS, "Level", 0x7, 0))
        said = f"{names[0]}.{names[1]}: {said}"
    walk.layer.once("told", dict[int, str])[walk.entry] = said
    walk.add(_MESSAGE, text.split("\0", 1)[0], at, walk.size - at)
    with walk.subtree():
        _parts(walk, at)


def _bits(value: int, names: dict[int, str], label: str, mask: int, shift: int) -> str:
    """A line of the tree for a number that stands in the packet as digits."""
    bits = "".join(str(value << shift >> place & 1) if mask >> place & 1 else "." for place in range(9, -1, -1))
    return f"{bits[:2]} {bits[2:6]} {bits[6:]} = {label}: {names.get(value, 'Unknown')} ({value})"


def _parts(walk: Walk, at: int) -> None:
    for pattern in (_NEW, _OLD):
        found = pattern.match(walk.data, at)
        if found is None:
            continue
        for field, name in _PARTS:
            if name in found.groupdict() and found[name]:
                if field is _TIME and pattern is _NEW:
                    continue
                value = found[name].split(b"\0", 1)[0].decode("utf-8", "replace")
                walk.add(field, value, found.start(name), len(found[name]))
        return


_PARTS = (
    (_VERSION, "version"),
    (_TIME, "time"),
    (_HOST, "host"),
    (_APPLICATION, "application"),
    (_PROCESS, "process"),
    (_ID, "id"),
)


def _said(layer: Layer) -> list[str]:
    told = layer.once("told", dict[int, str])
    return [told.get(entry, "") for entry in range(len(layer))]


PROTOCOLS = (
    Protocol(
        "syslog",
        "Syslog message",
        "Syslog",
        fields=(_FACILITY, _LEVEL, _MESSAGE, _TIME, _VERSION, _HOST, _APPLICATION, _PROCESS, _ID),
        keys=(("udp.port", 514),),
        walk=_walk,
        label=lambda layer: [f": {one}" for one in _said(layer)],
        info=_said,
    ),
)
