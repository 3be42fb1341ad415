"""TCP sockets that are bound, and neither listen nor are connected: not in /proc, but in sock_diag from Linux 6.8."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from echowire.core.failures.facts import SocketEntry
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.fields import BOUND, address
from echowire.core.sockets.sock_diag import Splitter, swapped
from echowire.kernel.tables.netlink import NetlinkSocket
from echowire.model import Endpoint

AS_PROC_NAMES_IT = "UNCONN"


def bound_sockets(port: int) -> Iterator[SocketEntry]:
    """Those of this thread's network namespace that have `port`; none where the kernel does not tell."""
    with suppress(OSError), NetlinkSocket() as netlink:
        splitter = Splitter()
        for buffer in netlink.dump(diag.TCPDIAG_GETSOCK, diag.every_tcp_request(states=1 << BOUND)):
            for block in splitter.split(buffer, "tcp"):
                rows = block.unpack_as("=16xBxxxHxx16s40xII")
                for family, number, host, uid, inode in rows:
                    if swapped(number) == port:
                        shown = address(host[:4] if family == diag.AF_INET else host)
                        local = Endpoint("tcp", shown, port)
                        yield SocketEntry(local=local, peer=None, state=AS_PROC_NAMES_IT, inode=inode, uid=uid)
