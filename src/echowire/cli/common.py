"""What every verb's command shares: its kinds of values, and its streams as click passes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

import click

import echowire
from echowire import UsageError, parse_duration, parse_rate, parse_size, printable
from echowire.cli.environment import Environment

__all__ = [
    "DURATION",
    "PORT",
    "RATE",
    "SIZE",
    "Environment",
    "Quantity",
    "family_of",
    "join_host_port",
    "pass_environment",
    "printable",
    "refuse_two_forms",
    "refused",
]

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
PORT = Quantity("port", lambda text: echowire.parse_port(text))  # loads the model, which few verbs need


pass_environment = click.make_pass_decorator(Environment)


def refused(*names: str, why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that people know from elsewhere and that this command has not: whoever gives one is told `why`."""

    def refuse(context: click.Context, option: click.Parameter, given: bool) -> None:
        if given:
            raise click.UsageError(why, context)

    return click.option(*names, is_flag=True, hidden=True, expose_value=False, callback=refuse)


def refuse_two_forms(options: Mapping[str, Any], event: str) -> None:
    """Raise `UsageError` where both forms of JSON are asked for; `event` is what has a line in `--jsonl`."""
    if options["as_json"] and options["jsonl"]:
        raise UsageError(f"--json is one document, --jsonl a line {event}; give one of them")


def join_host_port(host: str, port: str) -> str:
    """The two arguments `HOST PORT` as one endpoint."""
    host = host.removeprefix("[").removesuffix("]")
    number = echowire.parse_port(port)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def family_of(options: Mapping[str, Any]) -> Literal[4, 6] | None:
    """What `-4` and `-6` mean together: both are no restriction."""
    if options["ipv4"] == options["ipv6"]:
        return None
    return 4 if options["ipv4"] else 6
