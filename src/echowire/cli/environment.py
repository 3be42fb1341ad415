"""The streams of a command, and how an answer and an error are written; without click, which a quick one leaves out."""

from __future__ import annotations

import os
import sys

from echowire import json_text, printable
from echowire.errors import EchowireError, FilterError, OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO, TextIO


class Environment:
    """The streams that a command reads and writes, as one object, so that it can be tested in process."""

    __slots__ = ("debug", "stderr", "stdin", "stdout", "variables")

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, stderr: TextIO, variables: dict[str, str]) -> None:
        self.stdin, self.stdout, self.stderr, self.variables = stdin, stdout, stderr, variables
        self.debug = False
        """Whether to show where in the program an error arose."""

    @classmethod
    def of_process(cls) -> Environment:
        """The process's own streams. One that the shell closed (`>&-`) is the null device instead."""
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123 - pathlib is not loaded for it
        return cls(sys.stdin.buffer, sys.stdout.buffer, sys.stderr, dict(os.environ))

    def answer(self, text: str, *, flush: bool = True) -> None:
        """Write a line of the answer to standard output, at once: a reader behind a pipe may wait for it.

        What a terminal should not be given stands in it as C writes it, wherever it came from. Without `flush` it may
        stay in the buffer, for answers of many lines; the last one flushes.
        """
        self.answer_lines(printable(text), flush=flush)

    def answer_lines(self, text: str, *, flush: bool = True) -> None:
        """Write lines of the answer, or JSON: text that whoever made it has made printable."""
        self.write(text.encode("utf-8", "replace") + b"\n")
        if flush:
            self.flush()

    def write(self, data: bytes) -> None:
        """Write a part of the answer to standard output."""
        with _standard_output():
            self.stdout.write(data)

    def flush(self) -> None:
        """Write what stayed in the buffer."""
        with _standard_output():
            self.stdout.flush()

    def answer_json(self, document: Any, *, indent: int | None = None) -> None:
        """Write `document` as JSON; with `indent` for people, else on one line. NaN is refused, not written."""
        self.answer_lines(json_text(document, indent=indent))

    def say(self, text: str) -> None:
        """Write a line of progress or warning to standard error, printable like an answer."""
        self.stderr.write(printable(text) + "\n")
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


class _standard_output:  # noqa: N801 - used as a function; contextlib is not loaded for it
    """What the system says of standard output, as an error that names it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise OperationError("write", "standard output", error.errno or 0, error.strerror or "failed") from error


def outcome(env: Environment, debug: bool, command: Callable[[], int]) -> int:
    """The exit status of `command`; an error is one line on standard error, and no traceback unless it is asked for."""
    try:
        return command()
    except EchowireError as error:
        if debug:
            import traceback

            traceback.print_exc(file=env.stderr)
        env.say(f"echowire: {printable(str(error))}")
        if isinstance(error, FilterError) and error.text:
            for line in error.pointed.split("\n"):
                env.say(line)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read the answer has left (`| head`). Nothing more can be written, not even by the interpreter at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            raise
        env.say(f"echowire: internal error: {type(error).__name__}: {error}; run again with --debug, and report it")
        return 2
