"""`echowire capture`: its options, as click reads them, and its help."""

from __future__ import annotations

from typing import Any

import click

from echowire.cli.capture_options import CHOICE, FLAG, NUMBER, OPTIONS, PAIR, TEXTS
from echowire.cli.capture_run import run
from echowire.cli.common import Environment, pass_environment


def _options(function: Any) -> Any:
    for option in reversed(OPTIONS):
        kinds: dict[int, dict[str, Any]] = {
            FLAG: {"is_flag": True},
            NUMBER: {"type": click.IntRange(option.least, option.most)},
            CHOICE: {"type": click.Choice(option.words)},
            TEXTS: {"multiple": True},
        }
        of_its_kind = kinds.get(option.kind, {})
        if option.kind == PAIR or (option.kind not in (FLAG, TEXTS) and option.default is not None):
            of_its_kind["default"] = option.default
        spelled = click.option(*option.spellings, option.name, help=option.help, metavar=option.metavar, **of_its_kind)
        function = spelled(function)
    return function


@click.command("capture")
@click.argument("expression", nargs=-1)
@_options
@pass_environment
def command(env: Environment, /, **options: Any) -> int:
    """Capture packets as they come by, with the kernel taking only those of the EXPRESSION or -f (pcap-filter(7)).

    \b
    echowire capture -D                                     the interfaces
    echowire capture -i eth0 -w a.pcapng                    to a file; Ctrl-C ends it
    echowire capture -i any                                 the packet list, live
    echowire capture -i lo tcp port 12345                   one TCP port: its conversations drawn as they happen
    echowire capture -i any -Y 'dns' -T fields -e dns.qry.name
    echowire capture -i eth0 -w a.pcapng -b filesize:100000 -b files:10   the last gigabyte
    echowire capture -i eth0 -w - | tshark -r -

    -b, as in dumpcap: filesize:KB, duration:TIME, packets:N begin the next file, files:N keeps the newest N. -a:
    duration:TIME, filesize:KB, packets:N, files:N end the capture. -Y and -c never change what a file gets of what
    was taken: -Y chooses what is printed. Printing gives way to writing: where packets come too fast for both, rows are
    passed over, and counted.

    On a terminal, a filter for one TCP port draws the conversation as it happens: an arrow a segment or a run of them,
    the socket calls and the states of both ends; --no-ladder shows the packet list, --ladder draws for any filter.

    Each packet of a socket of this host bears the processes of its ends, sender first: proc.pid, proc.name and proc.of
    (user, and unit or container), or of one end proc.srcpid, proc.dstname and so on, as fields of -e and -Y; in pcapng
    files as an option and a comment. A process that cannot be found is absent. Sockets that live for milliseconds are
    found as root only, and not in the first half second. It costs a quarter of a microsecond a packet, and a hundred
    bytes of the file: --no-processes.

    Exit status: 0; 2 where the system refuses, for wrong usage, or a disk that is full.
    """
    return run(env, options)
