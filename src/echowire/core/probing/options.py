"""What probes are asked to be: `Probing`, the value behind the keywords of `ping`. Pure.

`ProbingOptions` has the same names for a function that takes them as keywords; their defaults and what they mean stand
at `Probing` alone. What a path is looked for with is in `path_options.py`, which a ping does not load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from echowire.core.probing.echo_data import DATA_MAX, IDENTITY_BYTES
from echowire.errors import UsageError
from echowire.model import STAMP_PORT, Family

ProbeKind: TypeAlias = Literal["icmp", "udp", "tcp", "stamp"]

Fragments: TypeAlias = Literal["dont", "want", "do", "probe"]
"""ping's `-M`: may be fragmented anywhere; by this host, to the path's MTU; never; never, and the path's MTU as far
as this host knows it is not heeded (ip(7), IP_MTU_DISCOVER)."""

Pace: TypeAlias = Literal["steady", "adaptive", "flood"]
"""One each interval; the next as soon as the last was answered, and at the interval the latest (ping's -A); likewise
without any pause (ping's flood)."""

PRELOAD_MAX = 65_536
"""Probes sent ahead: ping's limit."""

PATTERN_MAX = 16
"""Bytes of a pattern: ping's limit."""

DEFAULT_PORTS: Mapping[ProbeKind, int] = {"icmp": 0, "udp": 7, "tcp": 443, "stamp": STAMP_PORT}
"""RFC 862's, HTTPS's, and STAMP's (RFC 8762 section 4.1)."""

DEFAULT_SIZE = 56
"""Bytes of data: ping's, which make an ICMP message of 64."""


class ProbingOptions(TypedDict, total=False):
    """The fields of `Probing`, as keywords."""

    probe: ProbeKind
    port: int | None
    count: int | None
    interval_s: float
    wait_s: float
    deadline_s: float | None
    rate: float | None
    size: int | None
    family: Family | None
    source: str
    ttl: int | None
    tos: int | None
    fragments: Fragments | None
    pace: Pace
    preload: int
    pattern: str
    dont_route: bool
    mark: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """What is asked for of the probes to each target. Making one raises `UsageError` for what cannot be.

    Sizes are bytes, times seconds.
    """

    probe: ProbeKind = "icmp"
    port: int | None = None
    """None is the usual one of the probe: `DEFAULT_PORTS`."""
    count: int | None = 5
    """Probes to each; None is until Ctrl-C."""
    interval_s: float = 1.0
    """From one probe of a target to the next."""
    wait_s: float = 1.0
    """How long a reply is waited for."""
    deadline_s: float | None = None
    """When all ends, whatever has come."""
    rate: float | None = None
    """Probes a second to all targets together, at most; None is a thousand, or what the interval asks for."""
    size: int | None = None
    """Of data, with STAMP of the whole packet; None is the usual one of the probe."""
    family: Family | None = None
    source: str = ""
    """An address, or an interface, of this host."""
    ttl: int | None = None
    """Time to live; None leaves the system's own, but for STAMP."""
    tos: int | None = None
    """The TOS byte."""
    fragments: Fragments | None = None
    pace: Pace = "steady"
    preload: int = 1
    """With a pace that follows the answers: probes that are unanswered at a time."""
    pattern: str = ""
    """In hexadecimal, up to 16 bytes that fill the data behind what names the probe; for ICMP and UDP."""
    dont_route: bool = False
    """Only to hosts on a link of this host, whatever the routes say (SO_DONTROUTE in socket(7))."""
    mark: int | None = None
    """The mark of the packets for the rules of this host (SO_MARK); needs CAP_NET_ADMIN."""

    def __post_init__(self) -> None:
        if self.probe not in get_args(ProbeKind):
            raise UsageError(f"there is no probe '{self.probe}'; one of {', '.join(get_args(ProbeKind))}")
        size_of(self.probe, self.size)
        if (
            self.interval_s < 0
            or self.wait_s <= 0
            or (self.count is not None and self.count < 1)
            or (self.rate is not None and self.rate <= 0)
        ):
            raise UsageError("count, wait and rate must be above 0, and the interval not below")
        if self.ttl is not None and not 1 <= self.ttl <= 255:
            raise UsageError(f"a time to live is 1 to 255, not {self.ttl}")
        check_tos(self.tos)
        port_of(self.probe, self.port)
        if self.pace not in get_args(Pace):
            raise UsageError(f"there is no pace '{self.pace}'; one of {', '.join(get_args(Pace))}")
        if not 1 <= self.preload <= PRELOAD_MAX:
            raise UsageError(f"1 to {PRELOAD_MAX:,} probes are sent ahead, not {self.preload:,}")
        if self.pattern_bytes and self.probe not in ("icmp", "udp"):
            raise UsageError("a pattern fills the data of ICMP and UDP probes; others have none to fill")
        if self.mark is not None and not 0 <= self.mark < 1 << 32:
            raise UsageError(f"a mark is 0 to {(1 << 32) - 1}, not {self.mark}")

    @property
    def pattern_bytes(self) -> bytes:
        """What fills the data; empty for the usual. Raises `UsageError`."""
        try:
            pattern = bytes.fromhex(self.pattern if len(self.pattern) % 2 == 0 else f"0{self.pattern}")
        except ValueError:
            raise UsageError(f"a pattern is written in hexadecimal, such as ff00, not '{self.pattern}'") from None
        if len(pattern) > PATTERN_MAX:
            raise UsageError(f"a pattern has at most {PATTERN_MAX} bytes, not {len(pattern)}")
        return pattern

    @property
    def data_bytes(self) -> int:
        """Bytes of data that each probe has."""
        return size_of(self.probe, self.size)

    @property
    def to_port(self) -> int:
        """The port that probes go to where a target names none; 0 for ICMP."""
        return port_of(self.probe, self.port)

    @property
    def first_ttl(self) -> int | None:
        """The time to live of each probe; None leaves the system's own.

        STAMP's is known, so that the reflector can tell how many routers were passed (RFC 8762 section 4.2).
        """
        return 255 if self.probe == "stamp" and self.ttl is None else self.ttl

    def document(self) -> dict[str, Any]:
        """What was asked for, as a part of the document."""
        return {**asdict(self), "size": self.data_bytes, "source": self.source or None, "pattern": self.pattern or None}


def size_of(probe: ProbeKind, size: int | None) -> int:
    """The bytes of data that a probe has. Raises `UsageError`."""
    if probe == "tcp":
        if size:
            raise UsageError("a TCP probe is a handshake, which carries no data")
        return 0
    if size is None:
        return 0 if probe == "stamp" else DEFAULT_SIZE
    if not 0 <= size <= DATA_MAX:
        raise UsageError(f"a packet has room for 0 to {DATA_MAX:,} bytes of data, not {size:,}")
    if probe == "udp" and size < IDENTITY_BYTES:
        raise UsageError(f"a UDP probe needs {IDENTITY_BYTES} bytes of data to be known again")
    return size


def port_of(probe: ProbeKind, port: int | None, defaults: Mapping[Any, int] = DEFAULT_PORTS) -> int:
    """The port that probes go to, 0 for ICMP. Raises `UsageError` where there is none to go to."""
    if port is None:
        return defaults[probe]
    if probe == "icmp":
        raise UsageError(f"ICMP has no ports, and {port} is one; TCP, UDP and STAMP probes have")
    if not 1 <= port <= 65535:
        raise UsageError(f"a port is 1 to 65535, not {port}")
    return port


def check_tos(tos: int | None) -> None:
    """Raise `UsageError` for what is no TOS byte."""
    if tos is not None and not 0 <= tos <= 255:
        raise UsageError(f"a TOS byte is 0 to 255, not {tos}")
