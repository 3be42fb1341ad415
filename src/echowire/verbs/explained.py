"""An error with what it means on this host: the kernel's tables asked, and the analysis of them added to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from echowire.core.failures.facts import IcmpReport
from echowire.errors import NameResolutionError, OperationError, UsageError
from echowire.model import Endpoint, is_address, split_scheme

Explainable = TypeVar("Explainable", bound=OperationError | NameResolutionError)


def explained(error: Explainable, target: Endpoint | None = None, icmp: IcmpReport | None = None) -> Explainable:
    """`error` itself with `meaning` and `remedy` set, unless it has them already.

    `target` is needed only where the error's own endpoint is a name: the address that was tried for it. `icmp` is
    what `echowire.kernel.connections.icmp_errors.take` gave for the socket.
    """
    if not error.meaning:
        # Imported when there is something to explain, for all goes well more often: they are a tenth of the start.
        from echowire.core.failures.explain import explain
        from echowire.kernel.tables.host import gather

        subject = target if isinstance(error, NameResolutionError) else _subject(error, target)
        facts = replace(gather(error, subject), icmp=icmp)
        error.meaning, error.remedy = explain(error, subject, facts)
    return error


@contextmanager
def explaining(target: Endpoint | None = None) -> Iterator[None]:
    """Let errors out of the block explained."""
    try:
        yield
    except (OperationError, NameResolutionError) as error:
        explained(error, target)
        raise


def _subject(error: OperationError, target: Endpoint | None) -> Endpoint | None:
    """The endpoint to ask the tables about: the error's own where its text has the very address, else `target`.

    The error knows better: a server binds several endpoints for one target, and a call tries several addresses.
    """
    own = _read(error.endpoint)
    if own is None or target is None or own.is_unix or is_address(own.host):
        return own or target
    return target


def _read(text: str) -> Endpoint | None:
    """The endpoint that `str` of an `Endpoint` gave, None where it was something else."""
    try:
        return Endpoint.parse(text) if split_scheme(text)[0] is not None else None
    except UsageError:
        return None
