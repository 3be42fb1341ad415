"""`echowire call` at a terminal: netcat with lines, or a prompt where the peer is known to be an echo.

Both hear the peer all the time: a greeting is shown before anything is typed, and so is what comes in between, and the
peer's end.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import echowire
from echowire import NoReplyError, Peer, RelaySummary, UsageError
from echowire.cli.common import Environment, printable
from echowire.cli.signals import ended_by_signals
from echowire.cli.terminal import Interleaved, Typing

PROMPT = "Enter a message: "


def bytes_of(text: str, *, as_hex: bool) -> bytes:
    """The message that somebody writes. Raises `UsageError` for what is no hex."""
    if not as_hex:
        return text.encode("utf-8", "surrogateescape")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"'{printable(text)}' is not hex; write pairs of digits, as in 48 65 6c 6c 6f") from None


def as_text(data: bytes, *, as_hex: bool) -> str:
    """`data` for a terminal: hex, or text in which nothing steers it."""
    return data.hex() if as_hex else printable(data.decode("utf-8", "backslashreplace"))


@contextmanager
def typing_at(env: Environment, *, as_hex: bool = False, crlf: bool = False) -> Iterator[Typing]:
    """What is typed at `env`'s terminal: lines with their ends, or hex without.

    To be entered before anything is said: what is typed from then on is whole, also before there is a connection.
    """

    def message_of(line: bytes) -> bytes:
        return bytes_of(line.decode("utf-8", "surrogateescape"), as_hex=True) if as_hex else line

    with ended_by_signals(), Typing(env, message_of, end=b"" if as_hex else b"\r\n" if crlf else b"\n") as typing:
        yield typing


def talk(env: Environment, peer: Peer, typing: Typing, *, as_hex: bool = False, **how: Any) -> RelaySummary:
    """Be netcat at a terminal, until the peer closes, or Ctrl-C; Ctrl-D says that no more is sent.

    `how` is for `echowire.relay`.
    """
    typing.editor.has_ended = False
    sink = Interleaved(env, typing, as_hex=as_hex)
    done = echowire.relay(peer, typing.fileno(), sink, reader=typing.editor, **how)  # type: ignore[arg-type]
    sink.finish()
    if done.ended == "interrupted" or typing.editor.shown:
        env.say("")
    return done


class Prompt:
    """A line, its echo, and so on, until Ctrl-D or the peer's end."""

    def __init__(self, env: Environment, peer: Peer, typing: Typing, *, as_hex: bool, wait_s: float | None) -> None:
        self._env, self._peer, self._typing, self._as_hex, self._wait_s = env, peer, typing, as_hex, wait_s
        self._asked = self._answered = 0

    def run(self) -> int:
        """Converse; the exit status."""
        try:
            self._typing.prompt(PROMPT)
            self._run()
        except KeyboardInterrupt:
            self._env.say("")
        return 1 if self._asked and not self._answered else 0

    def _run(self) -> None:
        typing, peer = self._typing, self._peer
        poll = select.poll()
        poll.register(typing, select.POLLIN)
        poll.register(peer, select.POLLIN)
        while True:
            ready = dict(poll.poll(0 if peer.has_more else None))
            if (peer.has_more or peer.fileno() in ready) and not self._hear():
                return
            if typing.fileno() not in ready:
                continue
            for message in typing.read():
                typing.prompt("")
                if message or not peer.is_stream:
                    self._exchange(message)
                typing.prompt(PROMPT)
            if typing.editor.has_ended:
                self._env.say("")
                return

    def _hear(self) -> bool:
        """Show what comes although nothing was asked; False at the end of it."""
        data = self._peer.recv_nowait()
        if data == b"" and self._peer.is_stream:
            self._env.say("")
            self._env.say("The peer has closed the connection.")
            return False
        if data is not None:
            with self._typing.aside():
                self._answer("Received", data)
        return True

    def _exchange(self, message: bytes) -> None:
        for exchange in echowire.converse(self._peer, [message], timeout_s=self._wait_s):
            self._asked += 1
            if exchange.unasked:
                self._answer("Received", exchange.unasked)
            if exchange.received is not None:
                self._answered += 1
                is_echo = exchange.verdict.ok
                self._answer("Echoed message" if is_echo else f"Received ({exchange.verdict})", exchange.received)
            if isinstance(exchange.error, NoReplyError):
                self._env.say(printable(str(exchange.error)))
            elif exchange.error is not None:
                raise exchange.error

    def _answer(self, what: str, data: bytes) -> None:
        self._env.answer(f"{what}: {as_text(data.removesuffix(self._typing.end), as_hex=self._as_hex)}")
