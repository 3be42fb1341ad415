"""Several flows at once: a prober each, for protocols whose flow is the socket's own."""

from __future__ import annotations

from collections.abc import Sequence

from echowire.engines.probing.flight import Flight, Probe
from echowire.engines.probing.prober import Handlers, Prober
from echowire.kernel.connections.poller import Poller


class FlowsProber(Prober):
    """Sends each probe by the prober of its flow."""

    def __init__(self, flight: Flight, probers: Sequence[Prober]) -> None:
        super().__init__(flight)
        self._probers = probers

    def watch(self, poller: Poller, handlers: Handlers) -> None:
        """Register all."""
        for prober in self._probers:
            prober.watch(poller, handlers)

    def send(self, probe: Probe) -> None:
        """Send by the flow's own."""
        self._probers[probe.flow % len(self._probers)].send(probe)

    def close(self) -> None:
        """Close all."""
        for prober in self._probers:
            prober.close()
