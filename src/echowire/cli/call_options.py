"""The options that are `echowire call`'s own: how lines are typed, by which proxy it goes, and what excludes what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from echowire import Proxy, UsageError
from echowire.cli.contradictions import FAMILIES, Contradiction, refuse_together
from echowire.cli.endpoint_options import refuse_name, together

terminal_options = together(
    click.option("-C", "--crlf", is_flag=True, help="Lines that are typed or piped end with CR and LF."),
    click.option(
        "--prompt", is_flag=True, help="Ask for each message, and show its echo; the default without ENDPOINT."
    ),
    click.option("-n", "--numeric", is_flag=True, help="Addresses only: look up no name."),
)
"""How one types."""

PROXY_KINDS: Mapping[str, Any] = {"5": "socks5", "socks5": "socks5", "connect": "http", "http": "http"}
"""nc's words for -X, and ncat's for --proxy-type."""

proxy_options = together(
    click.option("-x", "--proxy", metavar="HOST[:PORT]", help="Connect through this proxy."),
    click.option(
        "-X",
        "--proxy-type",
        metavar="KIND",
        help="What the proxy speaks: 5 (SOCKS 5) or connect (HTTP). [default: 5]",
    ),
    click.option("--proxy-auth", metavar="USER[:PASSWORD]", help="Who asks the proxy."),
)
"""Through whom one calls."""

MESSAGES = ("messages", "size", "count", "interval", "verify")

CONTRADICTIONS: tuple[Contradiction, ...] = (
    *FAMILIES,
    (("unix",), ("source", "source_port"), "a Unix socket has no source address or port; -U excludes --source and -p"),
    (("proxy",), ("udp", "unix"), "a proxy connects over TCP; -x excludes -u and -U"),
    (("proxy",), ("source",), "the proxy calls from its own address; -x excludes --source"),
    (("scan",), (*MESSAGES, "as_hex"), "-z sends nothing; it excludes messages (-m -s -c -i --verify --hex)"),
    (("scan",), ("quit_after", "wait", "crlf", "prompt"), "-z only connects; it excludes -q, -W, -C and --prompt"),
    (("scan",), ("unix",), "-z is for ports, and a Unix socket has none; connect to it instead"),
    (("prompt",), MESSAGES, "--prompt asks for the messages; it excludes -m, -s, -c, -i and --verify"),
    (("prompt",), ("as_json", "jsonl"), "--prompt is for people, --json and --jsonl for programs; give one"),
    (("crlf",), (*MESSAGES[:4], "as_hex"), "-C is for lines that are typed or piped; write -m $'HELO\\r\\n'"),
    (("as_hex",), ("size",), "-s generates messages and --hex is for those that are written; give one of them"),
    (("quit_after",), MESSAGES, "-q is for input that is typed or piped; for a message's reply it is -W"),
)  # fmt: skip


def refuse_contradictions(options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options that do not go together."""
    refuse_together(CONTRADICTIONS)
    if not options["proxy"] and (options["proxy_type"] or options["proxy_auth"]):
        raise UsageError("-X and --proxy-auth tell of a proxy, and there is none; name it with -x HOST:PORT")


def to_proxy(options: Mapping[str, Any]) -> Proxy | None:
    """The proxy that the options name."""
    if not options["proxy"]:
        return None
    kind = options["proxy_type"]
    if kind == "4":
        raise UsageError("SOCKS 4 is not spoken here; proxies that speak it speak SOCKS 5 too: -X 5")
    if kind is not None and kind not in PROXY_KINDS:
        raise UsageError(f"-X is 5 (SOCKS 5) or connect (HTTP), and not '{kind}'")
    user, _, password = (options["proxy_auth"] or "").partition(":")
    proxy = Proxy.parse(options["proxy"], kind=PROXY_KINDS[kind] if kind else None, user=user, password=password)
    if options["numeric"]:
        refuse_name(proxy.endpoint)
    return proxy
