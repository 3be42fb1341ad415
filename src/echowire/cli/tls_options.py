"""The options of TLS, as a client and as a server, and what they mean to the library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from echowire import DEFAULT_PORT, STARTTLS_PORTS, UsageError
from echowire.cli.endpoint_options import together

VERSIONS = click.Choice(["1.0", "1.1", "1.2", "1.3"])

_versions = together(
    click.option("--alpn", metavar="NAMES", help="Protocols to agree on one of (ALPN), as in h2,http/1.1."),
    click.option("--tls-min", type=VERSIONS, help="The lowest version of TLS. [default: 1.2]"),
    click.option("--tls-max", type=VERSIONS, help="The highest version of TLS."),
)

client_tls = together(
    click.option("--tls", is_flag=True, help="TLS, with the certificate checked."),
    click.option("--tls-ca", metavar="FILE", help="Trust the authorities in this PEM file instead of the system's."),
    click.option("--tls-insecure", is_flag=True, help="Do not check the certificate."),
    click.option("--tls-name", metavar="NAME", help="Send this name (SNI), and have the certificate be for it."),
    click.option("--tls-cert", metavar="FILE", help="Show this certificate (PEM) to a server that asks for one."),
    click.option("--tls-key", metavar="FILE", help="Its private key (PEM)."),
    _versions,
    click.option(
        "--starttls", type=click.Choice(list(STARTTLS_PORTS)), help="Begin in the clear, and ask for TLS as it has it."
    ),
)
"""TLS as a client has it."""

server_tls = together(
    click.option("--tls-cert", metavar="FILE", help="Serve TLS with this certificate (PEM)."),
    click.option("--tls-key", metavar="FILE", help="Its private key (PEM)."),
    click.option(
        "--tls-client-ca", metavar="FILE", help="Have each client show a certificate of these authorities (PEM)."
    ),
    _versions,
)
"""TLS as a server has it."""

_OF_A_CLIENT = ("tls_ca", "tls_insecure", "tls_name", "tls_cert", "tls_key", "alpn", "tls_min", "tls_max", "starttls")


def asks_for_tls(options: Mapping[str, Any]) -> bool:
    """Whether one of the options of `client_tls` was given."""
    return bool(options["tls"] or any(options[name] for name in _OF_A_CLIENT))


def default_port(options: Mapping[str, Any]) -> int:
    """The port where the endpoint names none: that of the protocol of --starttls, else the echo's."""
    return STARTTLS_PORTS.get(options["starttls"], DEFAULT_PORT)


def client_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `echowire.call` that the options of `client_tls` mean."""
    return {
        "tls_authorities": options["tls_ca"],
        "tls_insecure": options["tls_insecure"],
        "tls_name": options["tls_name"],
        "tls_certificate": options["tls_cert"],
        "tls_key": options["tls_key"],
        "tls_alpn": names_of(options["alpn"]),
        "tls_min": options["tls_min"],
        "tls_max": options["tls_max"],
        "starttls": options["starttls"],
    }


def server_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `echowire.serve` that the options of `server_tls` mean. Raises `UsageError`."""
    return {
        "tls": _files(options),
        "tls_client_authorities": options["tls_client_ca"],
        "tls_alpn": names_of(options["alpn"]),
        "tls_min": options["tls_min"],
        "tls_max": options["tls_max"],
    }


def names_of(listed: str | None) -> list[str]:
    """`h2,http/1.1` as a list."""
    return [] if listed is None else listed.split(",")


def _files(options: Mapping[str, Any]) -> tuple[str, str] | None:
    if not options["tls_cert"]:
        for name in ("tls_key", "tls_client_ca", "alpn", "tls_min", "tls_max"):
            if options[name]:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} without --tls-cert: give the certificate too")
        return None
    # One PEM file may hold both.
    return options["tls_cert"], options["tls_key"] or options["tls_cert"]
