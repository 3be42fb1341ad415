"""The filter of `echowire sockets`: ss's grammar (ss(8), FILTER), with a comparison of any column added.

    filter     = {"state" NAME | "exclude" NAME} [expression]
    expression = term {("or" | "||" | "|") term}
    term       = factor {["and" | "&&" | "&"] factor}
    factor     = ("not" | "!") factor | "(" expression ")" | ("state" | "exclude") NAME | test
    test       = ("src" | "dst") [op] HOST (`filter_hosts.py`)
               | ("sport" | "dport") [op] [FAMILY:][:]PORT
               | "dev" [op] NAME | "fwmark" [op] NUMBER[/MASK] | "cgroup" [op] PATH | "autobound"
               | COLUMN op VALUE
    op         = "=" "==" "eq" | "!=" "ne" "neq" | ">" "gt" | "<" "lt" | ">=" "ge" "geq" | "<=" "le" "leq"

A value of text may hold `*`. What is not known of a socket is neither equal nor unequal: it is not chosen.
"""

from __future__ import annotations

import re

from echowire.core.sockets import fields
from echowire.core.sockets.filter_hosts import HostError, host_expression, port_of_family
from echowire.core.sockets.filter_tree import And, Comparison, Expression, Not, Or
from echowire.core.units import parse_duration, parse_rate, parse_size
from echowire.errors import FilterError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_CHARACTERS = 10_000
"""Of a filter's text, and so of what it can nest."""

MAX_DEPTH = 100
"""Of parentheses and negations within each other: more than anybody writes, and less than Python's stack."""

_WORD = re.compile(r"""\s*(?:(\(|\)|&&?|\|\|?|!=|==?|!|>=?|<=?)|'([^']*)'|"([^"]*)"|([^\s()&|!=<>'"]+))""")

_OPERATORS = {
    **dict.fromkeys(("=", "==", "eq"), "="),
    **dict.fromkeys(("!=", "ne", "neq"), "!="),
    **dict.fromkeys((">", "gt"), ">"),
    **dict.fromkeys(("<", "lt"), "<"),
    **dict.fromkeys((">=", "ge", "geq"), ">="),
    **dict.fromkeys(("<=", "le", "leq"), "<="),
}

_STATE_NUMBERS = {name.lower(): number for number, name in reversed(list(enumerate(fields.STATES[:12]))) if number}
_STATE_NUMBERS |= {"established": 1, "listening": 10, "close": 7, "closed": 7, "unconnected": 7, "bound": 13}
_STATE_NUMBERS |= {"fin-wait1": 4, "fin-wait2": 5}
_CONNECTED = sum(1 << number for number in (1, 2, 3, 4, 5, 6, 8, 9, 11))
STATE_GROUPS = {
    "all": 0x2FFF,
    "connected": _CONNECTED,
    "synchronized": _CONNECTED & ~(1 << fields.SYN_SENT),
    "bucket": 1 << fields.SYN_RECV | 1 << fields.TIME_WAIT,
    "big": (_CONNECTED | 1 << fields.CLOSE | 1 << fields.LISTEN) & ~(1 << fields.SYN_RECV | 1 << fields.TIME_WAIT),
}
"""ss's names for several states at once, as bits."""

_MICROSECONDS = ("rto", "ato", "rtt", "rttvar", "rcv_rtt", "min_rtt", "busy_time", "rwnd_limited", "sndbuf_limited")
_MILLISECONDS = ("last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "total_rto_time")
_BYTE_RATES = ("pacing_rate", "max_pacing_rate", "delivery_rate")
_TICKS = {
    **{f"tcpi_{name}": 1e6 for name in _MICROSECONDS},
    **{f"tcpi_{name}": 1e3 for name in _MILLISECONDS},
    **{f"mptcpi_last_{name}": 1e3 for name in ("data_sent", "data_recv", "ack_recv")},
    "timer_ms": 1e3,
}
"""Units in a second, of the columns that are times."""

TEXTS = frozenset(
    {
        *("netid", "state", "local_address", "peer_address", "interface", "user", "timer", "path", "congestion", "ulp"),
        *("comm", "unit", "process_user", "protocol"),
    }
)
"""Columns, and properties of the processes, that are text."""

_NUMBERS = frozenset(
    {
        *("family", "local_port", "peer_port", "accept_queue", "accept_limit", "unread", "unacked", "timer_ms"),
        *("timer_tries", "uid", "inode", "cookie", "v6only", "peer_inode", "fanout", "netns", "pid", "fd"),
    }
)

OF_PROCESSES = frozenset({"pid", "fd", "comm", "unit", "process_user"})
"""What is only known once processes were looked for."""

_ALIASES = {
    "process": "comm",
    "container": "unit",
    "name": "comm",
    "drops": "skmem_drops",
    "ino": "inode",
    "sk": "cookie",
}
_ALIASES |= {
    "recv_q": "_rqueue",
    "send_q": "_wqueue",
    "cong": "congestion",
    "iface": "interface",
    "cwnd": "tcpi_snd_cwnd",
}


def column_names() -> dict[str, str]:
    """Every name that can be compared, and the column that it is: a member of TCP_INFO goes without `tcpi_` too."""
    known: dict[str, str] = {}
    for family, netid in ((1, ""), (17, ""), (16, "nl"), (40, ""), (2, "mptcp"), (2, "tcp")):
        for release in ((6, 18), (7, 0)):
            known.update((name, name) for name in fields.fields_of(family, netid, release) if name[0] != "_")
    known.update((name, name) for name in (*TEXTS, *_NUMBERS))
    for name in list(known):
        for prefix in ("tcpi_", "skmem_", "mptcpi_"):
            known.setdefault(name.removeprefix(prefix), name)
    # Two things that are called alike: the kernel's TCP_INFO has the name first.
    known.update((name.removeprefix("tcpi_"), name) for name in list(known) if name.startswith("tcpi_"))
    known["state"] = known["unacked"] = ""
    known |= {"state": "state", "unacked": "tcpi_unacked"}
    return known | _ALIASES


class Parsed:
    """A filter that was read: the states, None where it names none, and the expression, None where there is none."""

    __slots__ = ("expression", "states")

    def __init__(self, states: int | None, expression: Expression | None) -> None:
        self.states, self.expression = states, expression

    def tests(self) -> Iterator[Comparison]:
        """Every comparison in it."""
        waiting: list[Expression] = [] if self.expression is None else [self.expression]
        while waiting:
            one = waiting.pop()
            if isinstance(one, Comparison):
                yield one
            else:
                waiting += [one.part] if isinstance(one, Not) else one.parts

    @property
    def needs_processes(self) -> bool:
        """Whether processes must be looked for to decide it."""
        return any(test.subject in OF_PROCESSES for test in self.tests())


def parse_filter(
    text: str,
    *,
    resolve: Callable[[str], list[bytes]] | None = None,
    service: Callable[[str], int | None] | None = None,
    family: str = "",
) -> Parsed:
    """Read a filter. `resolve` gives a host name's addresses, `service` a service's port; `family` is that of a host
    that names none: `unix`, `link`, `netlink`, `vsock`, else IP's.

    Raises `FilterError`, which knows the place.
    """
    return _Parser(text, resolve, service, family).filter()


class _Parser:
    def __init__(
        self,
        text: str,
        resolve: Callable[[str], list[bytes]] | None,
        service: Callable[[str], int | None] | None,
        family: str,
    ) -> None:
        self.text, self.resolve, self.service, self.family = text, resolve, service, family
        self.has_state = False
        self.words: list[tuple[str, int, bool]] = []
        """Each word, where it begins, and whether it is text (not a sign)."""
        self.at = self.depth = 0
        if len(text) > MAX_CHARACTERS:
            raise UsageError(f"the filter has {len(text)} characters; at most {MAX_CHARACTERS} are read")
        place = 0
        while text[place:].strip():
            found = _WORD.match(text, place)
            if found is None:
                place += len(text[place:]) - len(text[place:].lstrip())
                raise self.error("a quotation mark without its other half", place)
            sign, *texts = found.groups()
            word = sign if sign is not None else next(part for part in texts if part is not None)
            self.words.append((word, found.end() - len(found[0].lstrip()), sign is None))
            place = found.end()

    def error(self, message: str, place: int | None = None) -> FilterError:
        """What is wrong, and where: at the next word if no place is given."""
        if place is None:
            place = self.words[self.at][1] if self.at < len(self.words) else len(self.text)
        return FilterError(message, self.text, place, 1)

    def peek(self) -> str:
        return self.words[self.at][0] if self.at < len(self.words) else ""

    def take(self, wanted: str) -> str:
        if self.at >= len(self.words) or not self.words[self.at][2]:
            raise self.error(f"here must be {wanted}")
        self.at += 1
        return self.words[self.at - 1][0]

    def filter(self) -> Parsed:
        chosen, excluded, named = 0, 0, False
        while (word := self.peek()) in ("state", "exclude", "excl") and self._is_state_clause():
            self.at += 1
            mask = self._states()
            chosen, excluded = (chosen | mask, excluded) if word == "state" else (chosen, excluded | mask)
            named = True
        if named:
            chosen = (chosen or STATE_GROUPS["all"]) & ~excluded
        expression = self.expression() if self.at < len(self.words) else None
        if self.at < len(self.words):
            raise self.error(f"'{self.peek()}' is one too many")
        if self.has_state and not named:
            return Parsed(STATE_GROUPS["all"], expression)  # the expression chooses among them
        return Parsed(chosen if named else None, expression)

    def _is_state_clause(self) -> bool:
        # `state = ESTAB` is a comparison like any other.
        return self.at + 1 >= len(self.words) or self.words[self.at + 1][0] not in _OPERATORS

    def _states(self) -> int:
        word = self.peek().lower().replace("_", "-")
        mask = STATE_GROUPS.get(word) or (1 << _STATE_NUMBERS[word] if word in _STATE_NUMBERS else 0)
        if not mask:
            raise self.error(f"no state is called '{self.peek()}'" if self.peek() else "here must be a state")
        self.at += 1
        return mask

    def expression(self) -> Expression:
        parts = [self.term()]
        while self.peek() in ("or", "||", "|"):
            self.at += 1
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else Or(parts)

    def term(self) -> Expression:
        parts = [self.factor()]
        while self.at < len(self.words) and self.peek() not in (")", "or", "||", "|"):
            if self.peek() in ("and", "&&", "&"):
                self.at += 1
            parts.append(self.factor())
        return parts[0] if len(parts) == 1 else And(parts)

    def factor(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"this is nested more than {MAX_DEPTH} deep")
        try:
            return self._factor()
        finally:
            self.depth -= 1

    def _factor(self) -> Expression:
        word = self.peek()
        if word in ("not", "!"):
            self.at += 1
            return Not(self.factor())
        if word == "(" and not self.words[self.at][2]:
            opened = self.words[self.at][1]
            self.at += 1
            inner = self.expression()
            if self.peek() != ")":
                raise self.error("this parenthesis is not closed", opened)
            self.at += 1
            return inner
        if word in ("state", "exclude", "excl") and self._is_state_clause():
            self.at += 1
            mask, self.has_state = self._states(), True
            chosen = Comparison(
                "states", "=", frozenset(name for bit, name in enumerate(fields.STATES) if mask >> bit & 1)
            )
            return chosen if word == "state" else Not(chosen)
        return self.test()

    def test(self) -> Expression:
        at = self.at
        name = self.take("a test, such as dport = :443")
        if name == "autobound":
            return Comparison(name)
        operator = _OPERATORS.get(self.peek())
        if operator:
            self.at += 1
        elif name not in _SUBJECTS:
            known = name in column_names()
            # The caret is under what is wrong: a name, or what should be a comparison.
            self.at = at + known
            raise self.error("here must be a comparison, such as =" if known else _unknown(name))
        if name in _SUBJECTS:
            if (operator or "=") not in _SUBJECTS[name][0]:
                self.at -= 1
                raise self.error(f"{name} can only be compared by {' and '.join(_SUBJECTS[name][0])}")
            return _SUBJECTS[name][1](self, name, operator or "=")
        column = column_names().get(name)
        if column is None:
            self.at = at
            raise self.error(_unknown(name))
        assert operator is not None
        return Comparison(column, operator, self.value(column, operator))

    def value(self, column: str, operator: str) -> object:
        word = self.take("a value")
        if column in TEXTS:
            if operator not in ("=", "!="):
                self.at -= 2
                raise self.error(f"{column} is text, and can only be compared by = and !=")
            return _state_name(word) if column == "state" else word
        try:
            return _number(column, word)
        except (UsageError, ValueError):
            self.at -= 1
            raise self.error(f"'{word}' is not {_kind_of(column)}") from None

    def port(self, word: str) -> int:
        number: int | None = None
        if word.isascii() and word.isdigit() and len(word.lstrip("0")) < 6:
            number = int(word)
        elif self.service and not word.isdigit():
            number = self.service(word)
        if number is None or number > 65535:
            self.at -= 1
            raise self.error(f"'{word}' is not a port")
        return number

    def ports(self, side: str, operator: str) -> Expression:
        word = self.take("a port")
        family, port = port_of_family(word)
        test = Comparison(side, operator, self.port(port or word))
        return test if family is None else And([test, Comparison("family", "=", family)])

    def hosts(self, side: str, operator: str) -> Expression:
        word = self.take("an address")
        try:
            found = host_expression(side, word, self.family, self.port, self.resolve)
        except HostError as error:
            self.at -= 1
            raise self.error(str(error)) from None
        if operator == "=":
            return found
        return Comparison(side, "!=", found.value) if isinstance(found, Comparison) else Not(found)

    def device(self, name: str, operator: str) -> Expression:
        return Comparison(name, operator, self.take("an interface"))

    def mark(self, name: str, operator: str) -> Expression:
        word = self.take("a mark")
        number, _, mask = word.partition("/")
        try:
            value = int(number, 0) & 0xFFFF_FFFF, int(mask, 0) & 0xFFFF_FFFF if mask else 0xFFFF_FFFF
        except ValueError:
            self.at -= 1
            raise self.error(f"'{word}' is not a mark; write 0x10 or 0x10/0xff") from None
        return Comparison(name, operator, value)

    def path(self, name: str, operator: str) -> Expression:
        return Comparison(name, operator, self.take("a control group's path"))


_EITHER, _ALL = ("=", "!="), ("=", "!=", "<", ">", "<=", ">=")
_SUBJECTS: dict[str, tuple[tuple[str, ...], Callable[[_Parser, str, str], Expression]]] = {
    "src": (_EITHER, _Parser.hosts),
    "dst": (_EITHER, _Parser.hosts),
    "sport": (_ALL, _Parser.ports),
    "dport": (_ALL, _Parser.ports),
    "dev": (_EITHER, _Parser.device),
    "fwmark": (_EITHER, _Parser.mark),
    "cgroup": (_EITHER, _Parser.path),
}
"""What ss itself knows: by what each may be compared (= where nothing is said), and how its value is read."""


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, [*_SUBJECTS, "autobound", *column_names()], 1)
    return f"nothing is called '{name}'" + (f"; did you mean {close[0]}?" if close else "")


def _kind_of(column: str) -> str:
    if column in _TICKS:
        return "a time; write 100ms"
    return "a rate; write 10M, in bits a second" if column.removeprefix("tcpi_") in _BYTE_RATES else "a number"


def _number(column: str, word: str) -> float:
    if column in _TICKS:
        return parse_duration(word) * _TICKS[column]
    if column.removeprefix("tcpi_") in _BYTE_RATES:
        return parse_rate(word) / 8
    if word.lower() in ("true", "false"):
        return int(word.lower() == "true")
    return int(word, 16) if word.lower().startswith("0x") else parse_size(word)


def _state_name(word: str) -> str:
    number = _STATE_NUMBERS.get(word.lower().replace("_", "-"))
    return word if number is None or number >= len(fields.STATES) else fields.STATES[number]
