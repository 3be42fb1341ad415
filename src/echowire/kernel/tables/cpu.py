"""How busy processors and processes are, from /proc: to tell whether a client or a server was at its limit.

And the one setting that decides how punctually a process wakes.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from echowire.kernel.tables import procfs
from echowire.model import Endpoint

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


PR_SET_TIMERSLACK = 29  # linux/prctl.h


def wake_punctually() -> None:
    """Have this thread's timers not be late by the 50 µs that the kernel may otherwise add (prctl(2))."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class HostCpu:
    """Seconds since boot that each processor was busy, and that it was at all (proc_stat(5)).

    Busy is user, nice, system, irq and softirq. Stolen time, which the hypervisor gave to others, is neither busy
    nor idle, and counts in the whole.
    """

    busy_s: tuple[float, ...]
    whole_s: tuple[float, ...]

    def shares_since(self, before: HostCpu) -> list[float]:
        """How much of the time since `before` each processor was busy, 0 to 1; empty if no time has passed."""
        if len(before.busy_s) != len(self.busy_s):
            return []  # a processor came or went
        pairs = zip(self.busy_s, before.busy_s, self.whole_s, before.whole_s, strict=True)
        return [min(1.0, (busy - was) / (whole - had)) for busy, was, whole, had in pairs if whole > had]


def read_host_cpu() -> HostCpu | None:
    """The processors now; None where /proc does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        rows = [[int(field) for field in line.split()[1:9]] for line in lines if line[:3] == "cpu" and line[3] != " "]
        busy = tuple(sum(row[at] for at in (0, 1, 2, 5, 6)) * TICK_S for row in rows)
        return HostCpu(busy, tuple(sum(row) * TICK_S for row in rows))
    except (OSError, ValueError, IndexError):
        return None


def process_cpu_s(pids: Iterable[int]) -> float | None:
    """Seconds of processor time that these processes have used, all threads (proc_pid_stat(5)); None if one is gone."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        total += (int(fields[11]) + int(fields[12])) * TICK_S
    return total


def serving_pids(endpoint: Endpoint) -> set[int]:
    """Processes of this host that serve `endpoint`, as far as may be seen; empty where it is elsewhere.

    Takes milliseconds; `endpoint` is the address connected to, not a name.
    """
    try:
        if not endpoint.is_unix:
            host = ipaddress.ip_address(endpoint.host.partition("%")[0])
            host = getattr(host, "ipv4_mapped", None) or host
            if not host.is_loopback and not any(host in network for network in procfs.local_addresses() or ()):
                return set()
        if endpoint.is_unix:
            entries = list(procfs.unix_sockets(endpoint.path))
        else:
            entries = list(procfs.sockets(endpoint.transport, local_port=endpoint.port))
        serving = [entry for entry in entries if entry.state in ("LISTEN", "UNCONN")]
        return {holder.pid for holder in procfs.holders(entry.inode for entry in serving).values()}
    except (OSError, ValueError, IndexError):
        return set()
