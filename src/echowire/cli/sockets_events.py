"""`echowire sockets --events`: what happens to sockets, a line each."""

from __future__ import annotations

import gc
import os
import signal

from echowire import SocketEvent, SocketEvents, SocketInquiry, json_text, printable
from echowire.cli.signals import heard
from echowire.cli.sockets_looks import ENDING, clock, end_text
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from echowire.cli.environment import Environment

LOST_STATUS = 1
"""Exit status when something could not be told because it came too fast."""


def events(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Print what happens, until Ctrl-C or so many events."""
    if not {"tcp", "udp"} & set(inquiry.kinds):
        raise UsageError("--events tells of TCP and UDP sockets; name one of them, or neither")
    told, untold, status, write = 0, 0, 0, _writer(env, options)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # not while it is half set up
    try:
        gc.set_threshold(GARBAGE)
        with SocketEvents(inquiry, states=options["all"]) as stream:
            presses = _Presses(stream)
            signal.signal(signal.SIGALRM, presses.too_late)
            for number in heard(ENDING):
                signal.signal(number, presses)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            for note in stream.notes:
                env.say(f"echowire: {note}")
            for batch in stream.batches():
                if presses.is_hurried:
                    untold += len(batch)
                    continue
                shown = batch if options["count"] is None else batch[: options["count"] - told]
                try:
                    presses.is_writing = True
                    write(shown)
                    presses.is_writing = False
                except KeyboardInterrupt:  # nobody reads what is written
                    presses.is_writing = False
                    untold += len(shown)
                    os.dup2(os.open(os.devnull, os.O_WRONLY), env.stdout.fileno())
                    continue
                told += len(shown)
                status = LOST_STATUS if any(event.kind == "lost" for event in shown) else status
                if told == options["count"]:
                    break
    finally:
        signal.alarm(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    if untold:
        env.say(f"echowire: {untold} events that had come were not told")
    return LOST_STATUS if untold else status


GARBAGE = 100_000
"""Objects between two looks for garbage in circles, of which events make none."""


class _Presses:
    """What a signal does: the first ends the stream once all that has come is told, the second has the rest counted."""

    def __init__(self, stream: SocketEvents) -> None:
        self._stream, self._count = stream, 0
        self.is_writing = False

    @property
    def is_hurried(self) -> bool:
        """Whether the rest is only counted."""
        return self._count > 1

    def __call__(self, *_: object) -> None:
        self._count += 1
        if self._count == 1:
            signal.alarm(PATIENCE_S)
        self._stream.stop()
        if self._count > MOST_PRESSES or (self.is_hurried and self.is_writing):
            raise KeyboardInterrupt

    def too_late(self, *_: object) -> None:
        """The time is over within which the rest could be told: it is counted, and nobody is waited for."""
        was_hurried, self._count = self.is_hurried, max(self._count, MOST_PRESSES)
        if self.is_writing and not was_hurried:
            raise KeyboardInterrupt


PATIENCE_S = 4
"""For the rest to be told after a signal; whoever reads it may have stopped."""

MOST_PRESSES = 2
"""After so many the next is an end at once."""


def _writer(env: Environment, options: dict[str, Any]) -> Callable[[Sequence[SocketEvent]], None]:
    """Writes the events that came together, in one go: a reader behind a pipe has them at once, and few writes cost."""
    if options["jsonl"]:
        return lambda events: env.answer_lines("\n".join([json_text(event.document()) for event in events]))
    return lambda events: env.answer_lines("\n".join(printable(_event_line(event)) for event in events))


def _event_line(event: SocketEvent) -> str:
    values = event.values
    head = f"{clock(event.time_ns)} {event.kind:<10}"
    if event.kind == "lost":
        return f"{head} {values['what']}"
    here = end_text(values["local_address"], values["local_port"])
    text = f"{head} {values['netid']} {here} {end_text(values['peer_address'], values['peer_port'])}"
    if event.kind in ("opened", "state"):
        was = f"{values['was']} → " if values.get("was") else ""
        who = f" by {printable(values['comm'])}[{values['pid']}]" if values.get("pid") else ""
        return f"{text} {was}{values['state']}{who}"
    if event.kind != "closed":
        return text + "".join(
            f" {name}:{values[name]}" for name in ("direction", "state", "reason") if values.get(name)
        )
    rtt = f" rtt:{values['rtt_us'] / 1000:g}ms" if values["rtt_us"] else ""
    lifetime = f" lived:{values['lifetime_ns'] / 1e6:.3f}ms" if values["lifetime_ns"] is not None else ""
    sent, received, again = values["bytes_sent"], values["bytes_received"], values["bytes_retransmitted"]
    counters = (f" bytes_sent:{sent}" if sent else "") + (f" bytes_received:{received}" if received else "")
    if again or values["retransmitted"]:
        counters += f" bytes_retransmitted:{again} retransmitted:{values['retransmitted']}"
    reset = f" reset {values['reset']}" if values["reset"] else ""
    return f"{text}{counters}{rtt}{lifetime}{reset}"
