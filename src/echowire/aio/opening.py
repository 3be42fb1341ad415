"""What `call` and `serve` return before it is awaited: the thing itself, or a block at whose end it is closed."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """What is closed at the end of an `async with` block."""

    async def __aexit__(self, *exception: Any) -> None: ...


Opened = TypeVar("Opened", bound=Closable)


class Opening(Generic[Opened]):
    """Await it, or enter it by `async with`; once."""

    def __init__(self, opening: Coroutine[Any, Any, Opened]) -> None:
        self._opening = opening
        self._opened: Opened | None = None

    def __await__(self) -> Generator[Any, Any, Opened]:
        return self._opening.__await__()

    async def __aenter__(self) -> Opened:
        self._opened = await self._opening
        return self._opened

    async def __aexit__(self, *exception: object) -> None:
        assert self._opened is not None
        await self._opened.__aexit__(*exception)
