"""Call and serve from a program that runs in asyncio: the same endpoints, words, limits and errors, awaited.

    async with echowire.aio.serve("tcp://127.0.0.1:0") as server:
        async with echowire.aio.call(server.endpoint) as peer:
            assert await peer.echo(b"hello") == b"hello"

Sockets wait in the program's own event loop, and no thread waits for one: only a look-up of a name, and the explanation
of an error, take a thread for a moment. asyncio's streams are not between: their TLS cannot half-close, and loses what
is written after the peer has said that it will send no more, which an echo does.
"""

from __future__ import annotations

from echowire.aio.connecting import call
from echowire.aio.opening import Opening
from echowire.aio.peer import Peer
from echowire.aio.serving import Handler, Server, serve

__all__ = ["Handler", "Opening", "Peer", "Server", "call", "serve"]
