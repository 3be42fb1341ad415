"""A socket filter as the bytecode that the kernel runs on each socket of a dump (linux/inet_diag.h, INET_DIAG_BC_…).

Code accepts by running to its end and refuses by jumping four bytes beyond it; every jump is forward. That makes it
composable: `a and b` is both one behind the other, `not a` is `a` and a jump over the end.
"""

from __future__ import annotations

from struct import pack, unpack_from

from echowire.core.sockets.filter_tree import And, Comparison, Expression, Host, Not

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_JMP, _S_GE, _S_LE, _D_GE, _D_LE, _AUTO, _S_COND, _D_COND, _DEV, _MARK, _S_EQ, _D_EQ, _CGROUP = range(1, 14)
_AF_INET, _AF_INET6 = 2, 10

MAX_BYTES = 60_000
"""Of code: a jump has 16 bits, and so has an attribute's length."""


def compile_bytecode(
    expression: Expression, *, interfaces: Mapping[str, int], cgroups: Mapping[str, int], may_mark: bool
) -> tuple[bytes, bool]:
    """The code for `expression`, or for as much of it as the kernel can tell; and whether that is all of it.

    Where it is not all, what the code refuses the expression refuses too. The code is empty if nothing can be told.
    `may_mark`: marks are compared only for CAP_NET_ADMIN.
    """
    code, exact = _Compiler(interfaces, cgroups, may_mark).compile(expression)
    return (code, exact) if code is not None and len(code) <= MAX_BYTES else (b"", False)


class _Compiler:
    def __init__(self, interfaces: Mapping[str, int], cgroups: Mapping[str, int], may_mark: bool) -> None:
        self.interfaces, self.cgroups, self.may_mark = interfaces, cgroups, may_mark

    def compile(self, one: Expression) -> tuple[bytes | None, bool]:
        if isinstance(one, Comparison):
            code = self.test(one)
            # Of what was accepted the kernel says that nobody asked for its port.
            return code, code is not None and one.subject != "autobound"
        if isinstance(one, Not):
            code, exact = self.compile(one.part)
            # The opposite of an approximation lets nothing be said.
            return (_not(code), True) if code is not None and exact else (None, False)
        parts = [self.compile(part) for part in one.parts]
        exact = all(whole for _, whole in parts)
        codes = [code for code, _ in parts if code is not None]
        if isinstance(one, And):
            return (_chain(codes, _and) if codes else None), exact
        return (_chain(codes, _or), exact) if len(codes) == len(parts) else (None, False)

    def test(self, test: Comparison) -> bytes | None:
        value = test.value
        if test.subject == "autobound":
            return _op(_AUTO)
        if test.subject in ("src", "dst"):
            hosts = [_host(_S_COND if test.subject == "src" else _D_COND, host) for host in value]  # type: ignore[attr-defined]
            codes = [code for code in hosts if code is not None]
            found = _chain(codes, _or) if codes and len(codes) == len(hosts) else None
        elif test.subject in ("sport", "dport"):
            assert isinstance(value, int)
            return _port(test.subject == "sport", test.operator, value)
        elif test.subject == "dev":
            name = str(value)
            index = int(name) if name.isdecimal() else self.interfaces.get(name)
            found = None if index is None else _op(_DEV, pack("=I", index))
        elif test.subject == "fwmark" and self.may_mark:
            found = _op(_MARK, pack("=II", *value))  # type: ignore[misc]
        elif test.subject == "cgroup":
            found = _op(_CGROUP, pack("=Q", self.cgroups[str(value)])) if value in self.cgroups else None
        else:
            found = None
        return _not(found) if found is not None and test.operator == "!=" else found


def _op(code: int, argument: bytes = b"") -> bytes:
    size = 4 + len(argument)
    return pack("=BBH", code, size, size + 4) + argument


def _port(is_source: bool, operator: str, port: int) -> bytes:
    least, most, equal = (_S_GE, _S_LE, _S_EQ) if is_source else (_D_GE, _D_LE, _D_EQ)
    code = {"=": equal, "!=": equal, ">=": least, "<": least, "<=": most, ">": most}[operator]
    found = _op(code, pack("=BBH", 0, 0, port))
    return _not(found) if operator in ("!=", "<", ">") else found


def _host(code: int, host: Host) -> bytes | None:
    if host.path is not None:
        return None
    family = {0: 0, 4: _AF_INET, 16: _AF_INET6}[len(host.address)]
    port = -1 if host.port is None else host.port
    # The kernel reads the address in words of 32 bits.
    return _op(code, pack("=BBxxi", family, host.prefix, port) + host.address)


def _not(code: bytes) -> bytes:
    return code + pack("=BBH", _JMP, 4, 8)


def _or(one: bytes, other: bytes) -> bytes:
    return one + pack("=BBH", _JMP, 4, 4 + len(other)) + other


def _and(one: bytes, other: bytes) -> bytes:
    """`one` before `other`: what refused by jumping beyond the end of `one` now jumps beyond the end of both."""
    code, at = bytearray(one), 0
    while at < len(one):
        _, size, jump = unpack_from("=BBH", one, at)
        if at + jump == len(one) + 4:
            code[at + 2 : at + 4] = pack("=H", min(jump + len(other), 0xFFFF))
        at += size
    return bytes(code) + other


def _chain(codes: list[bytes], join: object) -> bytes:
    code = codes[-1]
    for one in reversed(codes[:-1]):
        code = join(one, code)  # type: ignore[operator]
    return code
