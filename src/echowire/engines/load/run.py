"""A load on an endpoint: connects the lanes, and takes the generator that is leanest for what is asked.

    lean loops      `closed`     one small message of a fixed size in flight on each TCP or Unix stream
    messages        `messages`   any other messages: open loop, pipeline, sizes, TLS, datagrams
    bytes           `bulk`       streams in one direction or both
    floods          `flood`      datagrams in bursts, and their echoes
    asks            `asks`       datagrams that a source answers

It runs in slices and never reports by itself, so that whoever owns it decides what is done in between. Nothing
else runs in its process (`verbs/bench_worker.py`): no other thread takes the interpreter, and no garbage is collected.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from echowire.core.load.payloads import HEADER, make_probe
from echowire.core.units import format_duration
from echowire.engines.load.asks import AskLane, Asks
from echowire.engines.load.bulk import BulkLane, BulkStreams
from echowire.engines.load.closed import LARGEST, ManyLanes, OneLane
from echowire.engines.load.flood import Flood, FloodLane
from echowire.engines.load.lanes import DatagramLane, MessageLane, StreamLane
from echowire.engines.load.messages import MessageLoop
from echowire.engines.load.plan import Generator, Lane, Plan, Records
from echowire.errors import EchowireError, NoReplyError, OperationError, UsageError
from echowire.kernel.connections.channel import Channel, wait
from echowire.kernel.connections.connect import ConnectFailure, connect
from echowire.kernel.connections.socket_options import apply_options, read_options
from echowire.kernel.connections.tcp_info import read_tcp_info
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.model import is_address

OTHER_FILES = 32
"""Of a load's process: its pipes, the poller, and what looking up a name opens for a moment."""

SETTLE_S = 0.2
"""How long a name's address is given to refuse a datagram: an answer from the same continent."""


class RunningLoad:
    """The lanes of one plan and what runs on them. Close it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.records = Records()
        self._channels: list[Channel] = []
        self._lanes: list[Lane] = []
        self._generator: Generator | None = None

    def connect(self) -> None:
        """Connect every lane. Raises the first `EchowireError`; then `close` still has to be called."""
        plan = self.plan
        _check_open_files(plan.connections)
        tls = TlsClient.of(plan.tls).named(plan.endpoint.host) if plan.endpoint.transport == "tls" else None
        target = plan.endpoint
        for number in range(plan.connections):
            made = connect(target, timeout_s=plan.connect_timeout_s, family=plan.family, tls=tls)
            if isinstance(made, ConnectFailure):
                raise _connect_error(made, plan.connect_timeout_s)
            self._channels.append(made.channel)
            if number == 0:
                if not plan.endpoint.is_stream and not is_address(target.host):
                    _settle(made.channel)
                # The others go to the address that answered the first, whatever else the name stands for.
                target = made.channel.remote
            made.channel.endpoint = made.channel.remote  # errors then name the address, alike on every lane
            apply_options(made.channel.socket, plan.endpoint, plan.options)
        self._lanes, self._generator = _generator_for(plan, self._channels, self.records)

    @property
    def generator(self) -> Generator:
        """What runs; there once `connect` has been called."""
        assert self._generator is not None
        return self._generator

    @property
    def failures(self) -> list[EchowireError]:
        """Why lanes failed."""
        return [lane.failure for lane in self._lanes if lane.failure is not None]

    @property
    def jitter_s(self) -> float | None:
        """The mean over the lanes' jitter; None where there is none, as for streams."""
        known = [lane.jitter_s for lane in self._lanes if lane.jitter_s is not None]
        return sum(known) / len(known) if known else None

    def effective(self) -> dict[str, Any]:
        """What is in effect on the first lane, as the kernel says, and how the load is made."""
        channel = self._channels[0]
        tls = (channel.version, channel.cipher) if isinstance(channel, TlsChannel) else (None, None)
        lane = self._lanes[0]
        flood = lane if isinstance(lane, FloodLane) else None
        return {
            "remote": channel.remote.url,
            "generator": type(self._generator).__name__,
            **read_options(channel.socket, channel.endpoint),
            "tls_version": tls[0],
            "tls_cipher": tls[1],
            "paced_by": lane.paced_by if isinstance(lane, BulkLane) else None,
            "udp_segment": None if flood is None else flood.segments,
            "udp_gro": None if flood is None else flood.gathers,
        }

    def tcp_info(self) -> list[dict[str, int]]:
        """TCP_INFO of each lane that has it, in order."""
        found = (read_tcp_info(channel.socket) for channel in self._channels)
        return [info for info in found if info is not None]

    def close(self) -> None:
        """Close every lane."""
        if self._generator is not None:
            self._generator.close()
        for channel in self._channels:
            with suppress(EchowireError, OSError):
                channel.close()
        self._channels.clear()


def _generator_for(plan: Plan, channels: Sequence[Channel], records: Records) -> tuple[list[Lane], Generator]:
    lanes: Sequence[Lane]
    runs = random.Random(plan.seed ^ os.getpid() << 32)
    is_stream, is_fixed = plan.endpoint.is_stream, plan.least_size == plan.most_size
    generator: Generator
    if plan.direction != "echo" and is_stream:
        bulk = [BulkLane(number, channel, plan) for number, channel in enumerate(channels)]
        lanes, generator = bulk, BulkStreams(plan, bulk, records)
    elif plan.direction == "receive":
        asks = [AskLane(number, channel, runs.getrandbits(32)) for number, channel in enumerate(channels)]
        lanes, generator = asks, Asks(plan, asks, records)
    elif plan.direction != "echo":
        floods = [FloodLane(n, channel, plan, runs.getrandbits(32)) for n, channel in enumerate(channels)]
        lanes, generator = floods, Flood(plan, floods, records)
    elif (
        plan.endpoint.transport in ("tcp", "unix")
        and is_fixed
        and plan.most_size <= LARGEST
        and plan.pipeline == 1
        and plan.rate is None
    ):
        lanes = [Lane(number, channel) for number, channel in enumerate(channels)]
        generator = (OneLane if len(lanes) == 1 else ManyLanes)(plan, lanes, records)
    else:
        lanes = [
            StreamLane(number, channel, plan, records)
            if is_stream
            else DatagramLane(number, channel, plan, records, runs.getrandbits(32))
            for number, channel in enumerate(channels)
        ]
        generator = MessageLoop(plan, cast("list[MessageLane]", lanes), records)
    return list(lanes), generator


def _check_open_files(connections: int) -> None:
    """Raise `UsageError` for more connections than this process may have, before the first of them is made."""
    with suppress(ImportError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY and connections > most - OTHER_FILES:
            raise UsageError(
                f"{connections} connections are more than one process here may have ({most} open files, ulimit -n); "
                "share them out to more --workers, or raise the limit"
            )


def _settle(channel: Channel) -> None:
    """Have a name of several addresses stand for one that does not refuse datagrams, before the load begins.

    The channel moves on by itself when it is used, but to another socket, which no epoll would know. Of another run,
    and so no part of the load, the reply is only waited for to tell it from a refusal.
    """
    deadline = time.perf_counter() + SETTLE_S
    with suppress(OperationError):
        channel.send(make_probe(0, 0, HEADER.size))
        while wait(channel, read=True, write=False, deadline=deadline):
            if channel.receive(0) is not None:
                return


def _connect_error(failure: ConnectFailure, timeout_s: float | None) -> EchowireError:
    """The error of a call that failed, not yet explained."""
    where = f"{failure.operation} {failure.where}"
    if failure.number is None:
        answers = ", ".join(f"{attempt.address} {attempt.outcome}" for attempt in failure.attempts)
        return NoReplyError(f"{where}: no answer within {format_duration(timeout_s)} (our timer). Tried {answers}")
    return OperationError(failure.operation, failure.where, failure.number, os.strerror(failure.number or errno.EIO))
