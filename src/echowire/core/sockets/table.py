"""The table of a host's sockets: columns over the kernel's own messages, and rows made of them when they are asked for.

Nothing is decoded before it is asked for (`core/sockets/columns.py`): a table of 40,000 sockets is 20 MB of what
the kernel said, and no object a socket.
"""

from __future__ import annotations

from echowire.core.schemas import document_head
from echowire.core.sockets.columns import Names, Reader
from echowire.core.sockets.filter_columns import chosen_blocks, parsed_blocks
from echowire.core.sockets.sock_diag import Block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    import numpy as np

    from echowire.core.sockets.filter_text import Parsed


class SocketRow:
    """One socket: its columns as attributes and items, decoded when they are asked for."""

    __slots__ = ("_block", "_cells", "_reader")

    def __init__(self, reader: Reader, block: Block) -> None:
        object.__setattr__(self, "_reader", reader)
        object.__setattr__(self, "_block", block)
        object.__setattr__(self, "_cells", {})

    def __getitem__(self, name: str) -> Any:
        if name not in self._cells:
            column = self._reader.column(self._block, name)
            self._cells[name] = column[0] if column else None
        return self._cells[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a row cannot be changed")

    def document(self) -> dict[str, Any]:
        """Every column that this socket has; what is not known is None."""
        return {name: self[name] for name in self._reader.columns(self._block)}

    def __repr__(self) -> str:
        local, peer = f"{self.local_address}:{self.local_port}", f"{self.peer_address}:{self.peer_port}"
        return f"<SocketRow {self.netid} {self.state} {self.path or f'{local} {peer}'}>"


def row_filter(reader: Reader, parsed: Parsed) -> Callable[[SocketRow], bool]:
    """A filter as a function of rows."""
    return lambda row: any(parsed_blocks(reader, [row._block], parsed))


class SocketTable:
    """The sockets of a host at one moment.

    `time_ns` is when it was asked for, in nanoseconds since 1970; `notes` are sentences on what could not be seen.
    """

    def __init__(self, blocks: Iterable[Block], names: Names, *, time_ns: int = 0, notes: Sequence[str] = ()) -> None:
        self.blocks = list(blocks)
        self.names = names
        self.reader = Reader(names)
        self.time_ns = time_ns
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return sum(block.count for block in self.blocks)

    def __iter__(self) -> Iterator[SocketRow]:
        for block in self.blocks:
            size = block.layout.size
            for at in range(0, block.count * size, size):
                yield SocketRow(self.reader, Block(block.layout, block.data[at : at + size], block.netid))

    def column(self, name: str) -> list[Any]:
        """One value a socket, None where there is none."""
        found: list[Any] = []
        for block in self.blocks:
            column = self.reader.column(block, name)
            found += [None] * block.count if column is None else column
        return found

    def array(self, name: str) -> np.ma.MaskedArray:
        """A column of numbers as a masked array of numpy; masked where there is none."""
        import numpy as np

        parts: list[np.ma.MaskedArray] = []
        for block in self.blocks:
            field = None if name in self.reader.derived(block) else self.reader.fields(block).get(name)
            at = block.place(*field[:3]) if field else None
            if field is not None and at is not None:
                parts.append(np.ma.asarray(block.array(at, field[2]) >> field[3] & field[4]))
                continue
            column = self.reader.column(block, name) or [None] * block.count
            numbers = [0 if value is None else value for value in column]
            parts.append(np.ma.array(numbers, mask=[value is None for value in column], dtype="i8"))
        return np.ma.concatenate(parts) if parts else np.ma.array([], dtype="i8")  # type: ignore[no-untyped-call]

    def filter(self, text: str) -> SocketTable:
        """The sockets that a filter chooses (`core/sockets/filter_text.py`). Raises `UsageError` on a wrong one."""
        return self.of(chosen_blocks(self.reader, self.blocks, text))

    def columns(self) -> list[str]:
        """The names of all columns that any socket of this table has."""
        found: dict[str, None] = {}
        for block in {(block.layout, block.netid): block for block in self.blocks}.values():
            found.update(dict.fromkeys(self.reader.columns(block)))
        return list(found)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Every socket with all of its columns, as JSON has it."""
        return [row for block in self.blocks for row in self.reader.dicts(block)]

    def document(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            **document_head("sockets"),
            "time_ns": self.time_ns,
            "notes": list(self.notes),
            "sockets": self.to_dicts(),
        }

    def of(self, blocks: Iterable[Block]) -> SocketTable:
        """Other blocks with the same names, moment and notes."""
        return SocketTable(blocks, self.names, time_ns=self.time_ns, notes=self.notes)
