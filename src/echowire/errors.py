"""Every exception that Echowire raises, and the exit status each one means.

    EchowireError
    ├── UsageError            what was asked for cannot be: a port out of range, flags that contradict   2
    │   └── FilterError       a display filter that is wrong, and where                                  2
    ├── NameResolutionError   a host name that does not resolve                                           2
    ├── OperationError        the system or the network refused a call on an endpoint                 1 or 2
    ├── HandlerError          a handler of a server raised; what, and where, is its cause               1
    ├── ProtocolError         the peer answered, and not as it must: TLS failed, an echo came back wrong  1
    └── NoReplyError          nothing came back in time                                                   1

An `OperationError` is an `OSError` with a memory: which operation, on which endpoint, and, once it has been
explained, what it means on this host and what to do about it. `echowire.kernel.boundary` makes one of the other; a few
places do so themselves, where they know more than the number says. `core` never meets an `OSError`. What catches one
in `kernel` and `engines` lets an `OperationError` pass. What catches one above them has an answer to it that is no
error, as a table that this kernel lacks, or is the command, which says of its own files and streams in an error of this
tree what could not be read or written.
"""

from __future__ import annotations

import errno as _errno

from echowire.core.text import printable

FROM_THE_NETWORK = frozenset(
    {
        _errno.ECONNREFUSED,
        _errno.ECONNRESET,
        _errno.ECONNABORTED,
        _errno.EPIPE,
        _errno.ETIMEDOUT,
        _errno.EHOSTUNREACH,
        _errno.EHOSTDOWN,
        _errno.ENETUNREACH,
    }
)
"""Errors by which a peer, or the path to it, answers: a problem found (exit 1). All others are this host's (2)."""


class EchowireError(Exception):
    """The root of the tree. `exit_status` is what the command exits with."""

    exit_status = 2

    @property
    def made_of(self) -> tuple[object, ...]:
        """The arguments that make another one like it."""
        return self.args


class UsageError(EchowireError):
    """What was asked for cannot be done as it was asked. It is told on one line, whatever was typed."""

    def __str__(self) -> str:
        return printable(super().__str__())


class FilterError(UsageError):
    """A filter that is wrong: in `text`, `size` characters from `at` on."""

    def __init__(self, message: str, text: str, at: int, size: int) -> None:
        super().__init__(message, text, at, size)  # all that made it, so that it can be pickled
        self.message = message
        self.text = text
        self.at = at
        self.size = size

    def __str__(self) -> str:
        return printable(self.message)

    @property
    def pointed(self) -> str:
        """The filter, and a line beneath it with a caret under the fault."""
        shown = "".join(c if c.isprintable() else " " for c in self.text)
        return f"    {shown}\n    {' ' * self.at}^{'~' * (min(self.size, len(self.text) - self.at) - 1)}"


def _line(head: str, meaning: str, remedy: str) -> str:
    """`Head. Meaning; remedy.`: a remedy begins with a verb, so that it can follow the meaning in one sentence."""
    if meaning and remedy:
        meaning = f"{meaning.removesuffix('.')}; {remedy[:1].lower()}{remedy[1:]}"
    if not (said := meaning or remedy):
        return head
    return f"{head.removesuffix('.')}. {said}"


class NameResolutionError(EchowireError):
    """A host or service name that does not resolve (getaddrinfo, RFC 3493 section 6.1).

    `number` is the resolver's `EAI_` code, `None` where the name cannot even be asked for.
    """

    def __init__(self, host: str, message: str, number: int | None = None) -> None:
        super().__init__(host, message, number)  # all that made it, so that it can be pickled
        self.host = host
        self.message = message
        self.number = number
        self.meaning = ""
        self.remedy = ""

    def __str__(self) -> str:
        return _line(self.message, self.meaning, self.remedy)


class OperationError(EchowireError, OSError):
    """A call that the system refused: `operation` on `endpoint` failed with `number`, which is `errno` too.

    `endpoint` is its text as a user reads it (`127.0.0.1:80/tcp`). `meaning` and `remedy` are sentences that
    `echowire.core.failures.explain` adds where it can tell more than the error number does.
    """

    def __init__(
        self,
        operation: str,
        endpoint: str,
        number: int,
        system_message: str,
        *,
        meaning: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(number, system_message)  # errno and strerror, as in every OSError
        self.operation = operation
        self.endpoint = endpoint
        self.number = number
        self.system_message = system_message
        self.meaning = meaning
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """All that made it, and what was added since: pickled and copied it is the same."""
        return type(self), self.made_of, self.__dict__.copy()

    @property
    def made_of(self) -> tuple[object, ...]:
        """The arguments that make another one like it; `args` are those of every `OSError`."""
        return self.operation, self.endpoint, self.number, self.system_message

    @property
    def errno_name(self) -> str:
        """The symbol of the error number, such as `ECONNREFUSED`."""
        return _errno.errorcode.get(self.number, "errno")

    @property
    def exit_status(self) -> int:  # type: ignore[override]
        """1 where the network answered no, 2 where this host refused."""
        return 1 if self.number in FROM_THE_NETWORK else 2

    def __str__(self) -> str:
        said = self.system_message[:1].lower() + self.system_message[1:]
        head = f"{self.operation} {self.endpoint}: {said} ({self.errno_name} {self.number})."
        return _line(head, self.meaning, self.remedy)


class HandlerError(EchowireError):
    """A handler raised: `__cause__` is what it raised, and where several processes serve, a note is its traceback."""

    exit_status = 1


class ProtocolError(EchowireError):
    """The peer answered, and not as the protocol demands."""

    exit_status = 1


class NoReplyError(EchowireError):
    """Nothing came back within the time that was given for it."""

    exit_status = 1
