"""Options of nc and ncat that mean nothing here: whoever types one from habit is told what does it.

Those that mean the same have the same name in `call` and `serve`, and are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from echowire.cli.endpoint_options import Decorator, together


def _hint(names: tuple[str, ...], why: str, *, takes_value: bool) -> Decorator:
    def refuse(context: click.Context, option: click.Parameter, given: Any) -> None:
        if given:
            raise click.UsageError(f"{'/'.join(names)}: {why}", context)

    return click.option(*names, is_flag=not takes_value, hidden=True, expose_value=False, callback=refuse)


def _hints(flags: dict[str, str], values: dict[str, str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options without a value and with one, `-a --long` each, and what does it here."""
    return together(
        *(_hint(tuple(names.split()), why, takes_value=False) for names, why in flags.items()),
        *(_hint(tuple(names.split()), why, takes_value=True) for names, why in values.items()),
    )


LISTEN = (
    "call calls. To listen as nc -l does: echowire serve --raw PORT; -k takes one connection after the other, and "
    "without --raw it is an echo"
)
BUFFERS = "buffers are set by bench: --send-buffer and --receive-buffer; the kernel's own grow as they need"

nc_of_call = _hints(
    {
        "-l --listen": LISTEN,
        "-k --keep-open": LISTEN,
        "-d --detach": "to send nothing, give no input: echowire call HOST PORT --no-half-close < /dev/null",
        "-D": "SO_DEBUG tells nobody anything; -v says more, and echowire sockets -ti what the kernel knows",
        "-r": "a port range is tried in order, and the source port is any free one; -p names one",
        "-t --telnet": "telnet's options are not answered; what the server asks is shown as it came",
        "-S": "TCP MD5 signatures are not made here; socat and BGP daemons have them",
        "-F": "a descriptor cannot be handed back; the library's echowire.call() gives a socket",
        "--send-only": "what comes back may go nowhere, > /dev/null, and -q 0 ends with the input",
        "--recv-only": "to send nothing, give no input: echowire call HOST PORT --no-half-close < /dev/null",
        "--ssl": "it is --tls, with --tls-ca FILE or --tls-insecure; the certificate is checked",
        "--no-shutdown": "it is --no-half-close",
    },
    {
        "-T": "the DSCP is set by bench and ping: --dscp NAME, or -S/-Q NUMBER",
        "-P": "who asks a proxy is said by --proxy-auth USER:PASSWORD",
        "-I": BUFFERS,
        "-O": BUFFERS,
        "-M": "the time to live is set by ping: -t",
        "-V": "routing tables are chosen by the network namespace: ip netns exec NAME echowire call, or ip vrf exec",
        "-e --exec": "a program for each connection is served: echowire serve --exec PROGRAM; for one call: socat",
        "--sh-exec": "a program for each connection is served: echowire serve --exec 'sh -c COMMAND'",
        "-g": "source routes are dropped by nearly every router, and are not made here",
        "-o --output": "standard output may go to a file: | tee FILE; echowire capture writes packets",
        "--hex-dump": "what comes back in hex: --hex with -m, or | xxd",
        "--idle-timeout": "it is -w",
    },
)
"""Of nc and ncat as clients."""

nc_of_serve = _hints(
    {
        "-l --listen": "serve listens anyway. For nc -l, one connection's bytes to and from this terminal: --raw",
        "-d --detach": "with --raw, to send nothing: < /dev/null --no-half-close",
        "-D": "SO_DEBUG tells nobody anything; -v says more",
        "-z --scan": "call scans: echowire call -z HOST PORTS",
        "--broker": "clients are not connected with each other here; ncat --broker does that",
        "--chat": "clients are not connected with each other here; ncat --chat does that",
        "--ssl": "it is --tls-cert FILE, with the key in it or in --tls-key FILE",
        "--send-only": "with --raw, what comes may go nowhere: > /dev/null",
        "--recv-only": "with --raw, to send nothing: < /dev/null --no-half-close",
        "--no-shutdown": "it is --no-half-close, with --raw",
    },
    {
        "-c --sh-exec": "a shell is a program as others are: --exec 'sh -c COMMAND'",
        "-w --timeout": "how long a connection may be idle is --idle",
        "-m --max-conns": "it is --max-connections",
        "-s --source": "where it listens is the ENDPOINT: echowire serve ADDRESS:PORT",
        "-i --idle-timeout": "it is --idle",
        "-o --output": "what passes is shown by --show text, and goes to a file by > FILE",
        "-x --hex-dump": "what passes is shown by --show hex",
        "-I": BUFFERS,
        "-O": BUFFERS,
        "-T": "the DSCP is set by bench and ping: --dscp NAME",
        "--allow": "who may connect is said by the firewall, or by the address that is served",
        "--deny": "who may not connect is said by the firewall",
    },
)
"""Of nc -l and ncat -l."""
