"""`echowire sockets --events`: what happens to sockets, a line each."""

from __future__ import annotations

import signal

from echowire import SocketEvent, SocketEvents, SocketInquiry, printable
from echowire.cli.signals import heard
from echowire.cli.sockets_looks import ENDING, clock, end_text
from echowire.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from echowire.cli.environment import Environment

LOST_STATUS = 1
"""Exit status when something could not be told because it came too fast."""


def events(env: Environment, options: dict[str, Any], inquiry: SocketInquiry) -> int:
    """Print what happens, until Ctrl-C or so many events."""
    if not {"tcp", "udp"} & set(inquiry.kinds):
        raise UsageError("--events tells of TCP and UDP sockets; name one of them, or neither")
    for number in heard(ENDING):
        signal.signal(number, signal.default_int_handler)
    told, status = 0, 0
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # not while it is half set up
    try:
        with SocketEvents(inquiry) as stream:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            for note in stream.notes:
                env.say(f"echowire: {note}")
            for event in stream:
                status = LOST_STATUS if event.kind == "lost" else status
                if options["jsonl"]:
                    env.answer_json(event.document())
                else:
                    env.answer(_event_line(event))
                told += 1
                if told == options["count"]:
                    break
    except KeyboardInterrupt:
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return status


def _event_line(event: SocketEvent) -> str:
    values = event.values
    head = f"{clock(event.time_ns)} {event.kind:<10}"
    if event.kind == "lost":
        return f"{head} {values['what']}"
    here, there = (end_text(values[f"{side}_address"], values[f"{side}_port"]) for side in ("local", "peer"))
    text = f"{head} {values['netid'] or '?'} {here} {there}"
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
    names = ("bytes_sent", "bytes_received", "bytes_retransmitted", "retransmitted")
    counters = "".join(f" {name}:{values[name]}" for name in names if values[name])
    reset = f" reset {values['reset']}" if values["reset"] else ""
    return f"{text}{counters}{rtt}{lifetime}{reset}"
