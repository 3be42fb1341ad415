"""What happens to sockets, as it happens: opened, state, closed with the last counters, reset, drop, retransmit.

The end of a socket is told by sock_diag to anybody who asks, with its counters. How a TCP connection began and what
became of it between is told by the kernel's tracer to root, in an instance of our own; to others, and of all other
kinds, by looking each second.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from bisect import bisect_right
from contextlib import suppress
from operator import itemgetter
from struct import pack

from echowire.core.sockets import fields
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.changes import SocketTracker
from echowire.core.sockets.events import COUNTERS, NAMESAKES, PLACES, Known, SocketEvent, ends_with, key_of
from echowire.core.sockets.netlink import HEADER, HEADER_BYTES
from echowire.core.sockets.sock_diag import Block, Splitter
from echowire.errors import OperationError
from echowire.kernel.boundary import operation, operation_error
from echowire.kernel.tables import processes
from echowire.kernel.tables.netlink import NetlinkSocket
from echowire.kernel.tables.socket_states import Change, SocketStates
from echowire.kernel.tables.tracefs import TraceInstance
from echowire.verbs.sockets import SocketInquiry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from echowire.core.sockets.trace_events import EventFormat

RECEIVE_BUFFER_BYTES = 32 << 20
"""Asked for: the ends of some 20,000 sockets at once. Without CAP_NET_ADMIN there is `rmem_max`, for some 100."""

LOOK_S = 1.0
"""How often it is looked, where the tracer may not be asked."""

REMEMBERED = 100_000
"""Connections whose beginning is kept for when they end."""

TRACED_KINDS = frozenset({"tcp"})
"""Of whose beginnings and changes the tracer tells; all others are looked at once a second, with it too."""

CHANGED = "sock/inet_sock_set_state"
TRACED = (
    CHANGED,
    "tcp/tcp_send_reset",
    "tcp/tcp_receive_reset",
    "tcp/tcp_retransmit_skb",
    "skb/kfree_skb",
)
ENDS_OF_LIFE = "(oldstate == 7 || newstate == 3 || newstate == 7)"
"""Of changes of state those by which a connection begins or is over: from CLOSE, to SYN_RECV, to CLOSE."""

FILTERS = {
    "sock/inet_sock_set_state": "protocol == 6",
    # 2 is NOT_SPECIFIED, by which most code frees what it needs no more; the rest of the world is not IP. Of a packet
    # without a socket nothing is said but that it was dropped: not even in which network.
    "skb/kfree_skb": "reason > 2 && (protocol == 0x0800 || protocol == 0x86dd) && rx_sk != 0",
}
"""What the kernel itself leaves out."""

NEEDED = {"skb/kfree_skb": "rx_sk"}
"""A field without which an event says nothing to us: before Linux 6.11 a packet's drop names no socket."""

TELLS_ITS_END = frozenset({"tcp", "udp"})
"""Sockets whose end the kernel tells by itself (`diag.DESTROY_GROUPS`): it is not told again where it is looked for."""


CHANGE = ("family", "sport", "dport", "oldstate", "newstate", "skaddr", "common_pid", *("saddr", "daddr"))
"""What is read of a change of state; and, of IPv6, the addresses."""
CHANGE_V6 = ("saddr_v6", "daddr_v6")

_NETIDS = {17: "udp", 136: "udpl"}

NAME_S = 1.0
"""How long a process's name is taken for what it was."""

GATHER_MS = 30
"""How long events are waited for while they come."""

LAST_S, QUIET_MS = 0.5, 50
"""How long after the stop what comes is told, and how long nothing must have come for an earlier end."""

MESSAGES_AT_ONCE = 1000
"""Ends of sockets that are read before any is told."""


class SocketEvents:
    """A stream of events; iterate over it, and close it.

    `inquiry` chooses by its filter, kinds, family and namespace; without `states`, of the changes of state only the
    first and the last count. `is_traced` says whether the kernel's tracer is asked,
    `notes` what is missing without it. Raises `OperationError` where sock_diag cannot be asked.
    """

    def __init__(self, inquiry: SocketInquiry, *, trace: bool = True, states: bool = True) -> None:
        self.inquiry, self._has_states = inquiry, states
        self._stop, self._stopped = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._read_change: Callable[[bytes], tuple[Any, ...]] | None = None
        self.notes: list[str] = []
        self._splitter = Splitter()
        self._by_socket: dict[int, Known] = {}
        self._names: dict[int, tuple[str, float]] = {}
        self._by_ends: dict[tuple[Any, ...], list[Known]] = {}
        families = {2: 4, 10: 6}
        self._groups = [
            number
            for (kind, family), number in diag.DESTROY_GROUPS.items()
            if kind in inquiry.kinds and family in {families[one] for one in inquiry.families}
        ]
        with operation("listen to", "sock_diag"):
            self._netlink = inquiry.within(lambda: NetlinkSocket(groups=self._groups))
        self._trace: TraceInstance | None = None
        self._states: SocketStates | None = None
        self._held: list[tuple[int, Change]] = []
        """Changes that may not be told yet."""
        self._tracker: SocketTracker | None = None
        self._next_look = time.monotonic()
        # The tracer tells monotonic time.
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        try:
            self._netlink.grow(RECEIVE_BUFFER_BYTES)
            self._trace = self._start_trace() if trace else None
            self._looked_for = [kind for kind in inquiry.kinds if self._trace is None or kind not in TRACED_KINDS]
            if self._looked_for:
                self._tracker = SocketTracker(inquiry.reader)
                self._tracker.update(inquiry.blocks(kinds=self._looked_for), self._next_look)
        except BaseException:
            self.close()
            raise

    def _start_trace(self) -> TraceInstance | None:
        try:
            filters = dict(FILTERS)
            if not self._has_states:
                filters["sock/inet_sock_set_state"] += f" && {ENDS_OF_LIFE}"
            problem = self._follow_states()
            events = [event for event in TRACED if problem or event != CHANGED]
            trace = TraceInstance(events, filters, NEEDED)
        except OSError as error:
            refused = error.errno in (errno.EPERM, errno.EACCES)
            why = "root sees each of them" if refused else f"the kernel's tracer cannot be used: {error.strerror}"
            self.notes.append(f"what opens is seen once a second, resets and drops not at all; {why}")
            return None
        if problem:
            self.notes.append(f"connections of other network namespaces are told too: {problem}")
        if trace.lacking:
            self.notes.append(f"this kernel does not trace {', '.join(trace.lacking)}")
        return trace

    def _follow_states(self) -> str:
        """Have a program of our own tell of changes of state, if it can; else why not, and the tracer must."""
        if self.inquiry.names.netns is None:
            return "this network has no number"
        try:
            self._states = SocketStates(self.inquiry.names.netns, all_changes=self._has_states)
        except OperationError as error:
            return str(error)
        return ""

    @property
    def is_traced(self) -> bool:
        """Whether the kernel's tracer tells of every change."""
        return self._trace is not None

    def __enter__(self) -> SocketEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; the tracer's instance is removed."""
        self._netlink.close()
        if self._trace:
            self._trace.close()
        if self._states:
            self._states.close()
        for file in (self._stop, self._stopped):
            if file >= 0:
                os.close(file)
        self._stop = self._stopped = -1

    def stop(self) -> None:
        """Have the stream end once what has come by now is told. A handler of a signal may call it."""
        with suppress(BlockingIOError, OSError):
            os.write(self._stopped, b"s")

    def __iter__(self) -> Iterator[SocketEvent]:
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[SocketEvent]]:
        """The events as they come, those that came together in one list, until `stop`."""
        poller = select.poll()
        files = [self._stop, self._netlink.fileno(), *(self._trace.filenos() if self._trace else ())]
        for file in (*files, *([self._states.fileno()] if self._states else ())):
            poller.register(file, select.POLLIN)
        stopping = select.poll()
        stopping.register(self._stop, select.POLLIN)
        is_busy = False
        while True:
            # Where something came just now more will: what comes within a blink is read together, for a fifth of the
            # processor time. What comes alone is told at once.
            if is_busy and stopping.poll(GATHER_MS):
                break
            if any(file == self._stop for file, _ in poller.poll(self._patience_ms())):
                break
            batch = list(self.take())
            is_busy = bool(batch)
            if batch:
                yield batch
        poller.unregister(self._stop)
        yield from self._rest(poller)

    def _rest(self, poller: select.poll) -> Iterator[list[SocketEvent]]:
        """What had come when the stream was stopped; it may be on its way yet, as a socket's end is told by a thread
        of the kernel.
        """
        deadline = time.monotonic() + LAST_S
        while poller.poll(QUIET_MS) and time.monotonic() < deadline:
            if batch := list(self.take()):
                yield batch
        self._netlink.leave(self._groups)
        if self._trace:
            self._trace.stop()
        # Twice without anything: what was read and may not be told yet comes with the second.
        quiet = 0
        while quiet < 2:
            batch = list(self.take())
            quiet = 0 if batch else quiet + 1
            if batch:
                yield batch

    def _patience_ms(self) -> float | None:
        """How long to wait for something to come."""
        if self._held or (self._trace and self._trace.has_more):
            return 0.0
        return max(0.0, self._next_look - time.monotonic()) * 1000 if self._tracker else None

    def take(self) -> Iterator[SocketEvent]:
        """The events that are there, without waiting."""
        # A socket's end is told after the changes that led to it, and so read after them.
        ends = list(self._ends())
        if self._trace:
            yield from self._traced(self._trace)
        yield from ends_with(self._by_ends, ends)
        if self._tracker and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            yield from self._looked(self._tracker)

    def _ends(self) -> Iterator[SocketEvent]:
        while True:
            try:
                buffer = self._netlink.receive_many(MESSAGES_AT_ONCE)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    yield SocketEvent(
                        "lost", time.time_ns(), {"what": "ends of sockets came faster than they were read"}
                    )
                    continue
                raise operation_error("listen to", "sock_diag", error) from error
            if not buffer:
                return
            for block in self._splitter.split(buffer, "tcp"):
                yield from self._closed(block)

    def _closed(self, block: Block) -> Iterator[SocketEvent]:
        protocols = self.inquiry.reader.raw(block, ("_protocol",))
        numbers = [number for (number,) in protocols] if protocols else [6] * block.count
        for number in set(numbers):
            part = block if len(set(numbers)) == 1 else block.take([one == number for one in numbers])
            if part is not None:
                yield from self._closed_alike(Block(part.layout, part.data, _NETIDS.get(number, "tcp")))

    def _closed_alike(self, block: Block) -> Iterator[SocketEvent]:
        reader, kept = self.inquiry.reader, self.inquiry.chosen(block)
        if kept is None:
            return
        columns = [reader.column(kept, name) or [None] * kept.count for name in (*PLACES, *COUNTERS.values())]
        now, names = time.time_ns(), (*PLACES, *COUNTERS)
        for row in zip(*columns, strict=True):
            yield SocketEvent("closed", now, dict(zip(names, row)))  # noqa: B905 - a tenth of the time

    def _traced(self, trace: TraceInstance) -> Iterator[SocketEvent]:
        # As the tracer does: nothing later than this moment is told before all that led to it is there.
        until = time.monotonic_ns()
        events = list(trace.read())
        changes = self._changes_until(until)
        at = 0
        for now, name, layout, event in events:
            while at < len(changes) and changes[at][0] <= now:
                yield from self._state(changes[at][0] + self._offset_ns, changes[at][1])
                at += 1
            moment = now + self._offset_ns
            if name == "inet_sock_set_state":
                if self._read_change is None:
                    self._read_change = layout.reader((*CHANGE, *CHANGE_V6))
                yield from self._state(moment, self._read_change(event))
            elif name == "kfree_skb":
                yield from self._drop(moment, layout, event)
            elif (found := self._packet(moment, name, layout, event)) is not None:
                yield found
        for now, change in changes[at:]:
            yield from self._state(now + self._offset_ns, change)
        missed = self._states.missed() if self._states else 0
        if trace.lost or missed:
            trace.lost = False
            what = f"{missed} changes" if missed else "changes"
            yield SocketEvent("lost", time.time_ns(), {"what": f"{what} came faster than they were read"})

    def _changes_until(self, until: int) -> list[tuple[int, Change]]:
        """The changes of state that may be told, in their order; the others are kept for the next time."""
        if self._states is None:
            return []
        found = self._held + self._states.read()
        found.sort(key=itemgetter(0))
        at = bisect_right(found, until, key=itemgetter(0))
        self._held = found[at:]
        return found[:at]

    def _state(self, now: int, change: tuple[Any, ...]) -> Iterator[SocketEvent]:
        family, sport, dport, old, new, key, pid, v4_source, v4_target, *v6 = change
        is_new = old == fields.CLOSE or (old == fields.LISTEN and new == fields.SYN_RECV)
        known = None if is_new else self._by_socket.get(key)
        if new == fields.CLOSE and not self._has_states and known is not None:
            known.ended = now  # its end is told by sock_diag, with its counters
            self._by_socket.pop(key, None)
            if not known.has_port and sport and known.ends:
                known.ends["local_port"] = sport
                self._remember(known)
            return
        if known is None:
            known = self._by_socket[key] = Known(now if is_new else 0)
            if is_new and old == fields.CLOSE:
                known.caller = pid
            if len(self._by_socket) > REMEMBERED:
                self._by_socket.pop(next(iter(self._by_socket)))
        source, target = (v4_source, v4_target) if family == diag.AF_INET else v6
        kept = self._chosen_message(family, new, sport, dport, source, target)
        if kept is None:
            if new == fields.CLOSE:
                self._by_socket.pop(key, None)
            return
        known.ends, known.state = kept, fields.STATES[new]
        if sport:  # it is chosen after the first change
            known.has_port = True
            self._remember(known)
        if new == fields.CLOSE:
            known.ended = now
            self._by_socket.pop(key, None)
            if not self._has_states:
                return
        values = {**kept, "was": None if is_new else fields.STATES[old], "state": fields.STATES[new]}
        if known.caller and is_new:
            values |= {"pid": known.caller, "comm": self._name(known.caller)}
        yield SocketEvent("opened" if is_new else "state", now, values)

    def _name(self, pid: int) -> str:
        """A process's name, which is looked for once in a while: most connections are some process's next."""
        name, until = self._names.get(pid, ("", 0.0))
        now = time.monotonic()
        if now >= until:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            name = processes.name_of(pid)
            self._names[pid] = name, now + NAME_S
        return name

    def _remember(self, known: Known) -> None:
        """Keep it for when the end of a socket with its two ends is told."""
        namesakes = self._by_ends.setdefault(key_of(known.ends), [])
        if known not in namesakes:
            namesakes.append(known)
            del namesakes[:-NAMESAKES]
        if len(self._by_ends) > REMEMBERED:
            self._by_ends.pop(next(iter(self._by_ends)))

    def _chosen_message(
        self, family: int, state: int, sport: int, dport: int, source: bytes, target: bytes
    ) -> dict[str, Any] | None:
        """The place of a change, if the filter chooses it; it is put in sock_diag's form, which a filter reads."""
        if family not in self.inquiry.families or "tcp" not in self.inquiry.kinds:
            return None
        if not self.inquiry.has_filter:
            address = self.inquiry.reader.names.address
            size = 4 if family == diag.AF_INET else 16
            peer = address[target[:size]] if dport or any(target) else None
            place = ("tcp", 4 if size == 4 else 6, address[source[:size]], sport or None, peer, dport or None)
            return dict(zip(PLACES, place, strict=True))
        body = pack("=BBBB", family, state, 0, 0) + pack(">HH16s16s", sport, dport, source, target) + bytes(28)
        message = pack(HEADER, HEADER_BYTES + len(body), diag.SOCK_DIAG_BY_FAMILY, 0, 0, 0) + body
        (block,) = self._splitter.split(message, "tcp")
        kept = self.inquiry.chosen(block)
        if kept is None:
            return None
        found = {name: (self.inquiry.reader.column(kept, name) or [None])[0] for name in PLACES}
        return found | {"local_port": sport or None}

    def _packet(self, now: int, name: str, layout: EventFormat, event: bytes) -> SocketEvent | None:
        """A reset that was sent or came, or a segment that was sent again."""
        known = self._by_socket.get(layout.integer(event, "skaddr"))
        if name == "tcp_send_reset":
            reason = layout.name(event, "reason") if "reason" in layout.fields else None
            ends = known.ends if known and known.ends else self._reset_ends(layout, event)
            # The reset of a socket that was closed with unread data comes after the socket's last state.
            known = known or (self._by_ends.get(key_of(ends), [None])[-1] if ends else None)
            if known:
                known.reset = f"sent: {reason}"
            return None if ends is None else SocketEvent("reset", now, {**ends, "direction": "sent", "reason": reason})
        if known is None or not known.ends:
            return None
        if name == "tcp_receive_reset":
            known.reset = "received"
            return SocketEvent("reset", now, {**known.ends, "direction": "received", "reason": None})
        return SocketEvent("retransmit", now, {**known.ends, "state": known.state})

    def _reset_ends(self, layout: EventFormat, event: bytes) -> dict[str, Any] | None:
        """Whom a reset without a socket was between: two `struct sockaddr_in` or `sockaddr_in6`."""
        source, target = layout.data(event, "saddr"), layout.data(event, "daddr")
        if len(source) < 28:
            return None
        family = int.from_bytes(source[:2], sys.byteorder)
        sport, dport = (int.from_bytes(one[2:4], "big") for one in (source, target))
        here, there = (one[4:8] if family == diag.AF_INET else one[8:24] for one in (source, target))
        # From the packet that it answers: our end is the target of that packet, and the reset's source.
        return self._chosen_message(family, fields.CLOSE, sport, dport, here, there)

    def _drop(self, now: int, layout: EventFormat, event: bytes) -> Iterator[SocketEvent]:
        """A packet that the kernel threw away: of which connection, where that is known."""
        known = self._by_socket.get(layout.integer(event, "rx_sk"))
        if known is not None and known.ends:
            yield SocketEvent("drop", now, {**known.ends, "reason": layout.name(event, "reason")})

    def _looked(self, tracker: SocketTracker) -> Iterator[SocketEvent]:
        """What opened and changed since the last look; what closed is told by its end."""
        with suppress(OperationError):
            now = time.time_ns()
            for change in tracker.update(self.inquiry.blocks(kinds=self._looked_for), time.monotonic()):
                netid = change.row["netid"]
                if change.kind == "same" or (change.kind == "closed" and netid in TELLS_ITS_END):
                    continue
                if change.kind == "opened" and change.row["state"] == "TIME-WAIT":
                    continue  # it was over before it was seen, and its end was told
                values = {name: change.row[name] for name in PLACES}
                if change.kind == "closed":
                    values |= dict.fromkeys((*COUNTERS, "lifetime_ns", "reset"))
                else:
                    values |= {"was": change.was, "state": change.row["state"]}
                yield SocketEvent(change.kind, now, values)
