"""Whether a function can be a handler: one that does nothing when it is called is refused before anybody calls."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType

from echowire.engines.serving.base import Handler
from echowire.errors import UsageError

# Flags of code objects (inspect's CO_COROUTINE, CO_ASYNC_GENERATOR, CO_GENERATOR, without its start-up).
CO_ASYNC, CO_GENERATOR = 0x80 | 0x200, 0x20


def check_handler(function: Handler) -> None:
    """Raise `UsageError` for a function that would do nothing when it is called."""
    called = function if isinstance(function, FunctionType | MethodType | partial) else type(function).__call__
    while isinstance(called, partial):
        called = called.func
    flags = getattr(getattr(called, "__code__", None), "co_flags", 0)
    if flags & CO_ASYNC:
        raise UsageError("the handler is async, and handlers block; wrap it: lambda sock: asyncio.run(handler(sock))")
    if flags & CO_GENERATOR:
        raise UsageError(
            "the handler is a generator, which does nothing when it is called; give a function without yield"
        )
