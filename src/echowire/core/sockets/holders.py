"""Who holds which socket: kept as the kernel's numbers, and told as people when somebody asks."""

from __future__ import annotations

from echowire.core.sockets.fields import HOLDER
from echowire.core.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Person:
    """A process, as far as it is told who it is. `unit` is its systemd unit or container, empty if neither.

    `words` are what stands before and behind the descriptor in a line.
    """

    __slots__ = ("name", "pid", "unit", "user", "words")

    def __init__(self, pid: int, name: str, user: str, unit: str) -> None:
        self.pid, self.name, self.user, self.unit = pid, name, user, unit
        self.words = f'("{printable(name)}",pid={pid},fd=', f",user={user}{f',unit={unit}' if unit else ''})"


class Holder:
    """A process that holds a socket, by descriptor `fd`."""

    __slots__ = ("fd", "process")

    def __init__(self, process: Person, fd: int) -> None:
        self.process, self.fd = process, fd

    def document(self) -> dict[str, object]:
        """The holder as JSON has it."""
        who = self.process
        return {"pid": who.pid, "fd": self.fd, "name": who.name, "user": who.user, "unit": who.unit or None}

    def __repr__(self) -> str:
        return f"<Holder {self.process.name} pid {self.process.pid} fd {self.fd}>"


class Holders:
    """The processes that hold each socket inode, described by `describe` when they are first asked for.

    `packed` has each inode's holders, `HOLDER` one behind the other.
    """

    def __init__(self, packed: Mapping[int, bytes], describe: Callable[[int], Person]) -> None:
        self._packed = packed
        self._describe = describe
        self._people: dict[int, Person] = {}

    def get(self, inode: int) -> list[Holder]:
        """Who holds the socket `inode`; empty where nobody does, or it is not known who."""
        held = self._packed.get(inode)
        return [Holder(self._person(pid), fd) for pid, fd in HOLDER.iter_unpack(held)] if held else []

    def text(self, inode: int) -> str:
        """The same in ss's words; empty if there is nobody."""
        held = self._packed.get(inode)
        if held is None:
            return ""
        if len(held) == HOLDER.size:  # as nearly all are: what comes is for many
            pid, fd = unpack(held)
            before, behind = (self._people[pid] if pid in self._people else self._person(pid)).words
            return f" users:({before}{fd}{behind})"
        each = (str(fd).join(self._person(pid).words) for pid, fd in HOLDER.iter_unpack(held))
        return f" users:({','.join(each)})"

    def _person(self, pid: int) -> Person:
        if pid not in self._people:
            self._people[pid] = self._describe(pid)
        return self._people[pid]


unpack = HOLDER.unpack
