"""Sockets as JSON, a line each, made of columns: no object for a cell, and none for a socket.

Most of what sock_diag tells is plain numbers. Those of a message are read and written as text in one go each, by
`struct` and by one format; what needs a look (addresses, states, names) is a column of texts, and a text once made is
kept. The lines are those of `json_text(row)` for the rows of `Reader.dicts`, but for the order of the members.
"""

from __future__ import annotations

from itertools import repeat
from struct import calcsize

from echowire.core.sockets.sock_diag import Block
from echowire.core.text import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from echowire.core.sockets.columns import Reader
    from echowire.core.sockets.fields import Field

TOGETHER = 1000
"""Messages whose lines are made together: enough for what a block costs, and few enough not to be waited for."""

KEPT_TEXTS = 50_000
"""Of addresses, names and the like."""


def _one(blocks: list[Block]) -> Block:
    first = blocks[0]
    return first if len(blocks) == 1 else Block(first.layout, b"".join([one.data for one in blocks]), first.netid)


class SocketJson:
    """Makes the lines of blocks."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plans: dict[tuple[object, str], _Plan] = {}
        self._texts = _Texts()

    @staticmethod
    def joined(blocks: Iterable[Block]) -> Iterator[Block]:
        """The same messages in larger blocks, in the same order."""
        waiting: list[Block] = []
        for block in blocks:
            first = waiting[0] if waiting else block
            if block.layout is not first.layout or block.netid != first.netid or len(waiting) * first.count > TOGETHER:
                yield _one(waiting)
                waiting = []
            waiting.append(block)
        if waiting:
            yield _one(waiting)

    def lines(self, block: Block) -> list[str]:
        """A JSON object a socket, with all of its columns."""
        key = (block.layout, block.netid)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _Plan(self._reader, block)
        head, columns = ["{"], []
        for name in plan.made:
            text = self._column(self._reader.column(block, name))
            if isinstance(text, str):
                head.append(f'"{name}": {text}, '.replace("%", "%%"))
            else:
                head.append(f'"{name}": %s, ')
                columns.append(text)
        size = block.layout.size
        for at, texts in plan.bits:
            head.append("%s, ")
            columns.append([texts[byte] for byte in block.data[at::size]])
        start, rest = "".join(head), plan.rest
        if not plan.is_last:
            start = start.removesuffix(", ")
        rows: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if columns else repeat((), block.count)
        plain: Iterable[tuple[Any, ...]] = block.unpack(plan.places) if plan.places else repeat((), block.count)
        return [start % row + rest % numbers for row, numbers in zip(rows, plain, strict=True)]

    def _column(self, column: list[Any] | None) -> list[Any] | str:
        """What `%s` makes JSON of, for each socket; or one text for all."""
        if column is None:
            return "null"
        kinds = set(map(type, column))
        if kinds == {int}:
            return column
        if kinds == {type(None)}:
            return "null"
        texts = self._texts
        if kinds == {str}:
            return texts[column[0]] if column.count(column[0]) == len(column) else [texts[value] for value in column]
        if kinds == {int, type(None)}:
            return ["null" if value is None else value for value in column]
        if kinds == {str, type(None)}:
            return ["null" if value is None else texts[value] for value in column]
        if kinds == {list} and not any(column):
            return "[]"
        return list(map(json_text, column))


class _Texts(dict[str, str]):
    """Strings as JSON."""

    def __missing__(self, key: str) -> str:
        text = json_text(key)
        if len(self) < KEPT_TEXTS:
            self[key] = text
        return text


class _Plan:
    """How the messages of one layout are read: columns that are `made`; bytes of `bits`, each with the text of every
    value; and plain numbers at `places`, which `rest` is the format of.
    """

    def __init__(self, reader: Reader, block: Block) -> None:
        self.made: list[str] = []
        self.bits: list[tuple[int, list[str]]] = []
        plain: list[tuple[int, str, str]] = []
        by_byte: dict[int, list[tuple[str, Field]]] = {}
        derived, fields = reader.derived(block), reader.fields(block)
        for name in reader.columns(block):
            field = fields.get(name)
            at = reader.place(block, name) if field else None
            if name in derived or field is None or at is None or name in reader.names.unknown:
                self.made.append(name)
            elif field[3] or field[4] != (1 << 8 * calcsize("=" + field[2])) - 1:
                if field[2] == "B":
                    by_byte.setdefault(at, []).append((name, field))
                else:
                    self.made.append(name)
            else:
                plain.append((at, field[2], name))
        for at, names in by_byte.items():
            self.bits.append((at, [_bits(byte, names) for byte in range(256)]))
        end = -1
        self.places: list[tuple[int, str]] = []
        texts = []
        for at, letter, name in sorted(plain):
            if at < end:  # two names of the same bytes
                self.made.append(name)
                continue
            end = at + calcsize("=" + letter)
            self.places.append((at, letter))
            texts.append(f'"{name}": %d')
        self.rest = ", ".join(texts) + "}"
        self.is_last = bool(texts)


def _bits(byte: int, names: list[tuple[str, Field]]) -> str:
    return ", ".join(f'"{name}": {byte >> field[3] & field[4]}' for name, field in names)
