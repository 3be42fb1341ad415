"""A chat room in asyncio: what one caller says, all others hear. Each caller is a coroutine, and none has a thread.

python examples/many_callers.py [ENDPOINT]
"""

from __future__ import annotations

import asyncio
import signal
import sys

import echowire.aio

callers: set[echowire.aio.Peer] = set()


async def chat(peer: echowire.aio.Peer) -> None:
    """Talk to one caller, until it has said all."""
    callers.add(peer)
    try:
        while said := await peer.recv():
            await asyncio.gather(*(other.send(said, timeout=5) for other in callers - {peer}), return_exceptions=True)
    finally:
        callers.remove(peer)


async def main() -> None:
    """Serve until Ctrl-C."""
    endpoint = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:12345"
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, done.set)
    async with echowire.aio.serve(endpoint, handler=chat) as server:
        print(f"Listening on {server.endpoint}", flush=True)
        await done.wait()


if __name__ == "__main__":
    asyncio.run(main())
