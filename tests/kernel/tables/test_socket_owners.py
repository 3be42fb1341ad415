"""What the kernel tells of sockets and processes, on real sockets of real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from echowire.core.owners.events import ANY_ADDRESS, CLOSED, mapped
from echowire.core.owners.table import OwnerTable
from echowire.core.packets.processes import Owner
from echowire.errors import OperationError
from echowire.kernel.tables.control_groups import MOUNTS, mount_point
from echowire.kernel.tables.processes import user_name
from echowire.kernel.tables.socket_owners import SocketOwners, existing, lives, network_namespace, owner_of
from tests.peers import needs_root

LOOPBACK = mapped(b"\x7f\0\0\1")

CONNECT = """
import os, socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer:
        print(peer.getsockname()[1])
"""


@needs_root
def test_connections_that_are_gone_at_once_are_known_on_both_sides() -> None:
    try:
        owners = SocketOwners()
    except OperationError as error:
        pytest.skip(str(error))
    table = OwnerTable(owner_of, lives, network_namespace())
    with owners, socket.create_server(("127.0.0.1", 0)) as server:
        found: dict[int, int] = {}
        port = server.getsockname()[1]
        for _ in range(3):
            words = [sys.executable, "-c", CONNECT, str(port), "20"]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
                for _ in range(20):
                    server.accept()[0].close()
                assert process.stdout is not None
                found |= {int(line): process.pid for line in process.stdout}
        for event in owners.events():
            table.learn(event)
    assert len(found) > 50
    now = 1 << 62
    for own, pid in found.items():
        there = table.owner((6, LOOPBACK, own, LOOPBACK, port), now)
        here = table.owner((6, LOOPBACK, port, LOOPBACK, own), now)
        assert there is not None and there.pid == pid
        assert here is not None and here.pid == os.getpid()


REFUSED = """
import socket, sys
for host in ("127.0.0.1", "::1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as peer:
        peer.bind((host, 0)) if "bind" in sys.argv else None
        assert peer.connect_ex((host, int(sys.argv[1])))
"""


@needs_root
@pytest.mark.parametrize("more", [[], ["bind"]])
def test_who_was_refused_is_known_too(more: list[str]) -> None:
    try:
        owners = SocketOwners()
    except OperationError as error:
        pytest.skip(str(error))
    with socket.socket(socket.AF_INET) as taken, owners:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        with subprocess.Popen([sys.executable, "-c", REFUSED, str(port), *more]) as process:
            pass
        assert process.returncode == 0
        events = [event for event in owners.events() if event.peer_port == port]
    table = OwnerTable(lambda pid, name, *_: Owner(pid, name), lives, network_namespace())
    for event in events:
        table.learn(event)
    for address in (LOOPBACK, bytes(15) + b"\1"):
        (port_then,) = {one.local_port for one in events if one.kind == CLOSED and one.local == address}
        owner = table.owner((6, address, port_then, address, port), 1 << 62)
        assert port_then > 1023
        assert owner is not None and owner.pid == process.pid


IN_A_UNIT = """
import os, socket, sys
with open(sys.argv[2] + "/cgroup.procs", "w") as group:
    group.write("0")
os.setuid(65534)
socket.socket(type=socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", int(sys.argv[1])))
"""


@needs_root
def test_a_process_that_is_gone_had_a_user_and_a_unit() -> None:
    group = Path(mount_point(Path(MOUNTS).read_text()), f"echowire-test-{os.getpid()}.service")
    try:
        owners = SocketOwners()
        group.mkdir()
    except OSError as error:
        pytest.skip(str(error))
    try:
        with owners, socket.socket(type=socket.SOCK_DGRAM) as sink:
            sink.bind(("127.0.0.1", 0))
            words = [sys.executable, "-c", IN_A_UNIT, str(sink.getsockname()[1]), str(group)]
            with subprocess.Popen(words) as process:
                pass
            assert process.returncode == 0
            (event,) = [event for event in owners.events() if event.pid == process.pid and event.protocol == 17]
        found = owner_of(event.pid, event.name, event.thread, event.user, event.group)
        assert found.of == f"{user_name(65534)}, {group.name}"
        assert found.name == event.name != "?"
    finally:
        group.rmdir()


def test_sockets_that_were_there_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        accepted, _ = server.accept()
        with accepted, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
            bound.bind(("::", 0))
            known = dict(existing())
            own, port = peer.getsockname()[1], server.getsockname()[1]
            for key in (
                (6, LOOPBACK, own, LOOPBACK, port),
                (6, LOOPBACK, port, LOOPBACK, own),
                (17, ANY_ADDRESS, bound.getsockname()[1], ANY_ADDRESS, 0),
            ):
                owner = known[key]
                assert owner is not None and owner.pid == os.getpid()


def test_a_process_that_is_gone_keeps_the_name_it_had() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not lives(gone.pid)
    assert owner_of(gone.pid, "was-here", 3) == (gone.pid, "was-here", "", 3)
