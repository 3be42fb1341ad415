"""Standard input and output as the two ends of a relay: what `call` and `serve --raw` do with pipes and files."""

from __future__ import annotations

from typing import Any

import echowire
from echowire import Peer, RelaySummary
from echowire.cli.environment import Environment
from echowire.cli.shown_stream import ShownStream


def relay_streams(env: Environment, peer: Peer, *, writes: bool = True, crlf: bool = False, **how: Any) -> RelaySummary:
    """Send standard input, write what comes to standard output (or without `writes` nowhere). `how` is for
    `echowire.relay`."""
    shown = ShownStream(env) if env.stdout.isatty() else None
    sink: Any = (shown or env.stdout) if writes else None
    done = echowire.relay(peer, env.stdin, sink, reader=echowire.CrlfReader() if crlf else None, **how)
    if shown is not None:
        shown.finish()
    return done
