"""What an engine is: one way to serve bound sockets, and what every engine promises.

An engine is given a `Job` and a place to report events. `run` serves until `stop`; it may run in any thread.
It owns the listeners from then on, and closes them. The promises, which `echowire.testing`'s conformance suite
checks on every engine:

- every byte of a stream comes back, once and in order; after the peer's half-close the rest is sent, then the
  connection is closed;
- a peer that does not read is not read from beyond `Limits.queue_bytes`, and delays nobody else; only where TCP cannot
  hear it any more it is read on, within limits (`read_on.py`);
- an urgent byte comes back in its place among the others;
- a datagram comes back whole, the empty one too, from the address it was sent to;
- limits hold; what they turn away is counted; a failed connection is lost alone;
- no descriptor free means no accepting until one is; nobody connected is dropped;
- `stop` ends accepting at once, lets connections finish for `drain_s`, and then ends them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import socket
from typing import ClassVar, TypeAlias

from echowire.core.services import ECHO, Service
from echowire.kernel.connections.listen import Listener
from echowire.model import Event, Limits

Handler: TypeAlias = Callable[[socket], object]
"""A plain blocking function of a connected socket. When it returns, the connection is closed in order."""

Report: TypeAlias = Callable[[Event], None]
"""Told of each event, in the engine's own thread or threads: it must be quick and must not raise."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to serve: the sockets, the service or the handler on them, and the limits."""

    listeners: Sequence[Listener]
    service: Service = ECHO
    handler: Handler | None = None
    limits: Limits = field(default_factory=Limits)
    show: bool = False
    """Whether what passes is reported, as `Passed`."""

    @property
    def service_name(self) -> str:
        """What is served, in a word."""
        return self.service.name if self.handler is None else "handler"


class Engine(ABC):
    """One way to serve. A new engine is a subclass, a name in `choose.py`, and a green conformance suite."""

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def why_not(cls, job: Job) -> str | None:
        """Why this engine cannot do `job` on this kernel with these privileges; None if it can."""

    @abstractmethod
    def __init__(self, job: Job, report: Report) -> None: ...

    @abstractmethod
    def run(self) -> None:
        """Serve until stopped, then report `Stopped`. Never raises for what a peer does."""

    @abstractmethod
    def stop(self, drain_s: float) -> None:
        """Begin to stop, from any thread or a signal handler; returns at once. A second call may only shorten."""
