"""The options of `echowire capture`, and a reading of the command line that is done before click could be loaded.

Whoever starts a capture goes on at once to what is to be captured, so the interfaces are opened as early as can be.
Nearly every command line can be read here, from the table that click's options are made of (`cli/capture.py`). Where
something on it is wrong or not known here, `plain` gives None: click reads it then, and says what is wrong.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FLAG, PAIR, TEXT, TEXTS, NUMBER, CHOICE = range(6)
"""Kinds of options: there or not; `--so` or `--no-so`; with a text; with one each time; with a number; with a word."""

MAX_SNAP_LEN = 262_144


class Option:
    """One option: its name in the command, its spellings, its kind, and what its values may be."""

    __slots__ = ("default", "help", "kind", "least", "metavar", "most", "name", "spellings", "words")

    def __init__(
        self,
        spellings: str,
        name: str,
        kind: int,
        text: str | None = None,
        *,
        metavar: str | None = None,
        default: Any = None,
        least: int | None = None,
        most: int | None = None,
        words: tuple[str, ...] = (),
    ) -> None:
        self.spellings = spellings.split()
        """As click has them, of a pair with a `/` between the two."""
        self.name, self.kind, self.help, self.metavar = name, kind, text, metavar
        self.default = False if kind == FLAG else () if kind == TEXTS else default
        self.least, self.most, self.words = least, most, words

    def value_of(self, text: str) -> Any:
        """The value of what was written. Raises `ValueError` where click would refuse it."""
        if self.kind == CHOICE and text not in self.words:
            raise ValueError
        if self.kind != NUMBER:
            return text
        number = int(text)
        if (self.least is not None and number < self.least) or (self.most is not None and number > self.most):
            raise ValueError
        return number


_TIME_FORMS = ("r", "d", "dd", "e", "u", "ud", "a", "ad")

OPTIONS = (
    Option("-D --list-interfaces", "list_them", FLAG, "List the interfaces, and end."),
    Option("--json", "as_json", FLAG, "With -D: as one document."),
    Option("-i --interface", "interfaces", TEXTS, "May be repeated; any is all.", metavar="NAME"),
    Option("-f", "capture_filter", TEXT, "Take only these (pcap-filter(7)): tcp port 443.", metavar="FILTER"),
    Option("-s --snapshot-length", "snap_len", NUMBER, metavar="BYTES", default=0, least=0, most=MAX_SNAP_LEN),
    Option("-p --no-promiscuous-mode", "not_promiscuous", FLAG, "Only what is for this host."),
    Option("-B --buffer-size", "buffer_mib", NUMBER, "Of the ring; 32.", metavar="MIB", default=32, least=2, most=1024),
    Option("-c --count", "count", NUMBER, "End after so many packets.", least=1),
    Option("-a --autostop", "autostop", TEXTS, "End at duration:, filesize:, packets:, files:.", metavar="WHAT:N"),
    Option("-b --ring-buffer", "ring_buffer", TEXTS, "Next file at filesize:, duration:, packets:.", metavar="WHAT:N"),
    Option("-w --write", "write", TEXT, "Write all packets; .pcap for pcap, else pcapng; - is stdout.", metavar="FILE"),
    Option("-F", "kind", CHOICE, "The format, whatever the name says.", words=("pcapng", "pcap")),
    Option("-P --print", "also_print", FLAG, "Print packets too when writing them."),
    Option("-Y --filter", "display_filter", TEXT, "Print only packets that pass: dns.flags.rcode.", metavar="FILTER"),
    Option("-T", "form", CHOICE, "What to print of a packet.", words=("text", "fields"), default="text"),
    Option("-e --field", "fields", TEXTS, "A field to print; may be repeated.", metavar="FIELD"),
    Option("-E", "settings", TEXTS, "How -T fields prints, as in read.", metavar="NAME=VALUE"),
    Option("-t", "time_form", CHOICE, words=_TIME_FORMS, default="r"),
    Option("--jsonl", "jsonl", FLAG, "Print packets, drops and the summary as lines of JSON."),
    Option("--processes/--no-processes", "processes", PAIR, "Say whose each packet is; see below."),
    Option("--ladder/--no-ladder", "ladder", PAIR, "Draw conversations, not the packet list; see below."),
    Option("-n", "numeric", FLAG, "As in tcpdump; names are never looked up here."),
    Option("-q --quiet", "quiet", FLAG, "Print no packets."),
)


def plain(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The options, and the words of the filter as `expression`; None where click is to read the line."""
    options: dict[str, Any] = {option.name: option.default for option in OPTIONS}
    words: list[str] = []
    rest = list(arguments)
    try:
        while rest:
            argument = rest.pop(0)
            if argument == "--":
                words += rest
                rest = []
            elif argument[:2] == "--":
                _read_long(argument, rest, options)
            elif argument[:1] == "-" and len(argument) > 1:
                _read_letters(argument[1:], rest, options)
            else:
                words.append(argument)
    except (KeyError, IndexError, ValueError):
        return None
    return {**options, "expression": tuple(words)}


_FLAGS: dict[str, tuple[Option, bool]] = {}
_VALUED: dict[str, Option] = {}
for _option in OPTIONS:
    for _spelling in _option.spellings:
        if _option.kind == FLAG:
            _FLAGS[_spelling] = _option, True
        elif _option.kind == PAIR:
            _FLAGS |= {_word: (_option, at == 0) for at, _word in enumerate(_spelling.split("/"))}
        else:
            _VALUED[_spelling] = _option


def _read_long(argument: str, rest: list[str], options: dict[str, Any]) -> None:
    name, equals, value = argument.partition("=")
    if name in _VALUED:
        _take(_VALUED[name], value if equals else rest.pop(0), options)
        return
    option, is_so = _FLAGS[argument]
    options[option.name] = is_so


def _read_letters(letters: str, rest: list[str], options: dict[str, Any]) -> None:
    """`-nq`, `-c3`, `-nc 3`: flags, and one with a value at the end."""
    for at, letter in enumerate(letters, 1):
        if option := _VALUED.get(f"-{letter}"):
            _take(option, letters[at:] or rest.pop(0), options)
            return
        flag, is_so = _FLAGS[f"-{letter}"]
        options[flag.name] = is_so


def _take(option: Option, text: str, options: dict[str, Any]) -> None:
    value = option.value_of(text)
    options[option.name] = (*options[option.name], value) if option.kind == TEXTS else value
