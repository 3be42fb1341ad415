"""What every verb's command shares: its streams, its kinds of values, and how an answer is written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO, TypeVar, cast

import click

from echowire import OperationError, UsageError, parse_duration, parse_port, parse_rate, parse_size

T = TypeVar("T")


class Quantity(click.ParamType[T]):
    """A value that people write with a unit; `parse` raises `UsageError`, which click shows as its own."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """The value of `value`; what is a default already is passed through."""
        if not isinstance(value, str):
            return cast(T, value)
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


DURATION = Quantity("duration", parse_duration)
SIZE = Quantity("size", parse_size)
RATE = Quantity("rate", parse_rate)
PORT = Quantity("port", parse_port)


@dataclass(slots=True)
class Environment:
    """The streams that a command reads and writes, as one object, so that it can be tested in process."""

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: TextIO
    variables: dict[str, str]

    @classmethod
    def of_process(cls) -> Environment:
        """The process's own streams. One that the shell closed (`>&-`) is the null device instead."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, Path(os.devnull).open(mode))
        return cls(sys.stdin.buffer, sys.stdout.buffer, sys.stderr, dict(os.environ))

    def answer(self, text: str) -> None:
        """Write a line of the answer to standard output, at once: a reader behind a pipe may wait for it."""
        self.write(text.encode("utf-8", "surrogateescape") + b"\n")
        self.flush()

    def write(self, data: bytes) -> None:
        """Write a part of the answer to standard output."""
        with _standard_output():
            self.stdout.write(data)

    def flush(self) -> None:
        """See to it that what was written has gone out."""
        with _standard_output():
            self.stdout.flush()

    def answer_json(self, document: Any, *, indent: int | None = None) -> None:
        """Write `document` as JSON; with `indent` for people, else on one line. NaN is refused, not written."""
        self.answer(json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent))

    def say(self, text: str) -> None:
        """Write a line of progress or warning to standard error."""
        self.stderr.write(text + "\n")
        self.stderr.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether a person types at standard input."""
        return self.stdin.isatty()

    @property
    def has_colour(self) -> bool:
        """Whether standard output may be coloured and redrawn (NO_COLOR, TERM=dumb and a pipe say no)."""
        variables = self.variables
        return self.stdout.isatty() and not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


@contextmanager
def _standard_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperationError("write", "standard output", error.errno or 0, error.strerror or "failed") from error


pass_environment = click.make_pass_decorator(Environment)


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped: what a peer sent must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def join_host_port(host: str, port: str) -> str:
    """The two arguments `HOST PORT` as one endpoint."""
    host = host.removeprefix("[").removesuffix("]")
    return f"[{host}]:{parse_port(port)}" if ":" in host else f"{host}:{parse_port(port)}"


def family_of(options: Mapping[str, Any]) -> Literal[4, 6] | None:
    """What `-4` and `-6` mean together: both are no restriction."""
    if options["ipv4"] == options["ipv6"]:
        return None
    return 4 if options["ipv4"] else 6
