"""A socket filter that was read: what must hold of a socket, as a tree of comparisons."""

from __future__ import annotations


class And:
    """All of `parts`."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Expression]) -> None:
        self.parts = parts


class Or:
    """Any of `parts`."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Expression]) -> None:
        self.parts = parts


class Not:
    """Not `part`."""

    __slots__ = ("part",)

    def __init__(self, part: Expression) -> None:
        self.part = part


class Comparison:
    """One comparison. `subject` is src, dst, sport, dport, dev, fwmark, cgroup, autobound, or a column's name."""

    __slots__ = ("operator", "subject", "value")

    def __init__(self, subject: str, operator: str = "=", value: object = None) -> None:
        self.subject, self.operator, self.value = subject, operator, value


Expression = And | Or | Not | Comparison


class Host:
    """What src and dst are compared with: an address and the bits of it that count, or a path; and a port."""

    __slots__ = ("address", "path", "port", "prefix")

    def __init__(self, address: bytes = b"", prefix: int = 0, port: int | None = None, path: str | None = None) -> None:
        self.address, self.prefix, self.port, self.path = address, prefix, port, path
