"""What the probes that find a path are asked to be: `PathProbing`, the value behind the keywords of `path`. Pure.

`PathOptions` has the same names for a function that takes them as keywords; their defaults and what they mean stand at
`PathProbing` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from echowire.core.probing.echo_data import BALANCED_MIN
from echowire.core.probing.options import Fragments, check_tos, port_of, size_of
from echowire.errors import UsageError
from echowire.model import Family

PathProbe: TypeAlias = Literal["icmp", "udp", "tcp"]

PATH_PORTS: Mapping[PathProbe, int] = {"icmp": 0, "udp": 33434, "tcp": 443}
"""traceroute's first port for UDP, where nothing is expected to listen; HTTPS's, which firewalls let pass."""

MOST_HOPS = 64
FLOWS_MAX = 16


class PathOptions(TypedDict, total=False):
    """The fields of `PathProbing`, as keywords."""

    probe: PathProbe
    port: int | None
    count: int | None
    interval_s: float
    wait_s: float
    first_hop: int
    max_hops: int
    flows: int
    size: int | None
    family: Family | None
    source: str
    tos: int | None
    fragments: Fragments | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProbing:
    """What is asked for of the probes that find a path. Making one raises `UsageError` for what cannot be.

    Sizes are bytes, times seconds.
    """

    probe: PathProbe = "icmp"
    port: int | None = None
    """None is the usual one of the probe: `PATH_PORTS`."""
    count: int | None = 3
    """Probes for each hop; None is until Ctrl-C."""
    interval_s: float = 0.5
    """From one probe of a hop to the next; all hops are probed at a time."""
    wait_s: float = 1.0
    """How long an answer is waited for."""
    first_hop: int = 1
    max_hops: int = 30
    flows: int = 1
    """With 1 all probes look alike to routers that balance by flow, so that they take one path; with more, that many
    flows take turns, and a hop then has several addresses where there are equal-cost branches."""
    size: int | None = None
    """Of data; None is the usual one of the probe."""
    family: Family | None = None
    source: str = ""
    """An address, or an interface, of this host."""
    tos: int | None = None
    """The TOS byte."""
    fragments: Fragments | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.first_hop <= self.max_hops <= MOST_HOPS or not 1 <= self.flows <= FLOWS_MAX:
            raise UsageError(f"hops are 1 to {MOST_HOPS}, and flows 1 to {FLOWS_MAX}")
        if (self.count is not None and self.count < 1) or self.interval_s < 0 or self.wait_s <= 0:
            raise UsageError("count and wait must be above 0, and the interval not below")
        if self.probe not in get_args(PathProbe):
            raise UsageError(f"a path is found by {', '.join(get_args(PathProbe))}")
        if size_of(self.probe, self.size) < BALANCED_MIN and self.probe == "icmp":
            raise UsageError(f"a path needs {BALANCED_MIN} bytes of data to be known again")
        port_of(self.probe, self.port, PATH_PORTS)
        check_tos(self.tos)

    @property
    def data_bytes(self) -> int:
        """Bytes of data that each probe has."""
        return size_of(self.probe, self.size)

    @property
    def to_port(self) -> int:
        """The port that probes go to where the target names none; 0 for ICMP."""
        return port_of(self.probe, self.port, PATH_PORTS)

    def document(self) -> dict[str, Any]:
        """What was asked for, as a part of the document."""
        return {**asdict(self), "source": self.source or None}
