"""`echowire serve --raw`: netcat's other half. One connection's bytes to and from standard input and output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import echowire
from echowire import Peer, UsageError, format_size
from echowire.cli.call_terminal import talk, typing_at
from echowire.cli.common import Environment, family_of, printable
from echowire.cli.relay_streams import relay_streams
from echowire.cli.serve_options import endpoints_of
from echowire.cli.terminal import Typing

INTERRUPTED = 130
"""The exit status after Ctrl-C where nothing was at a terminal: 128 and SIGINT's number, as the shell has it."""


class ServingRaw:
    """One run of the command with `--raw`."""

    def __init__(self, env: Environment, options: Mapping[str, Any]) -> None:
        self._env, self._options = env, options

    def run(self) -> int:
        """Take a connection, with -k one after the other until Ctrl-C; the exit status."""
        options, env = self._options, self._env
        how: dict[str, Any] = {"family": family_of(options)}
        if options["backlog"] is not None:
            how["backlog"] = options["backlog"]
        with (
            typing_at(env, crlf=options["crlf"]) if env.is_terminal else nullcontext() as typing,
            echowire.listen(self._endpoint(), **how) as listener,
        ):
            for endpoint in listener.endpoints:
                env.say(f"Listening on {endpoint}")
            while True:
                with listener.accept() as peer:
                    if not options["keep_open"] and peer.is_stream:
                        listener.close()  # as nc does: whoever comes now is refused, and does not wait for nothing
                    ended = self._serve(peer, typing)
                if ended == "interrupted":
                    return 0 if env.is_terminal else INTERRUPTED
                if not options["keep_open"] or ended == "output closed":
                    return 0

    def _serve(self, peer: Peer, typing: Typing | None) -> str:
        """Relay one connection; how it ended."""
        env, options = self._env, self._options
        tells = options["verbose"] or env.is_terminal
        who = printable(peer.remote.address) or "a socket without a name"
        if tells:
            env.say(f"Connection from {who}" if peer.is_stream else f"Datagrams from {who}")
        how = {
            "half_close": options["half_close"],
            "idle_s": options["idle"] or None,
            "reply_wait_s": math.inf,
            "quit_after_s": options["quit_after"],
        }
        try:
            if typing is not None:
                done = talk(env, peer, typing, **how)
            else:
                done = relay_streams(env, peer, crlf=options["crlf"], **how)
        except echowire.NoReplyError as silent:
            env.say(str(silent))
            return "idle"
        if tells:
            sizes = f"sent {format_size(done.sent_bytes)}, received {format_size(done.received_bytes)}"
            env.say(f"{sizes[0].upper()}{sizes[1:]}; ended: {done.ended}")
        return done.ended

    def _endpoint(self) -> echowire.Endpoint:
        """The one endpoint; TCP where it says nothing else."""
        endpoints = endpoints_of(self._options) or ["127.0.0.1"]
        if len(endpoints) > 1:
            raise UsageError(f"--raw is one connection at one endpoint; {len(endpoints)} were given")
        endpoint = echowire.Endpoint.of(endpoints[0], port=echowire.DEFAULT_PORT)
        if endpoint.transport == "tls":
            raise UsageError("--raw serves plain bytes; for TLS serve a program with socat, or an echo without --raw")
        return endpoint
