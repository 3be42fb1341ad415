"""Who holds a socket, and in which unit or container it runs."""

from __future__ import annotations

import os
import socket

import pytest

from echowire.core.sockets.fields import HOLDER
from echowire.kernel.tables import processes

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/\n", ""),
        ("", ""),
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/firefox.scope\n", "firefox.scope"),
        (f"0::/system.slice/docker-{ID}.scope\n", "docker:0123456789ab"),
        (f"12:pids:/docker/{ID}\n0::/\n", "docker:0123456789ab"),
        (f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope\n", "cri-containerd:0123456789ab"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "libpod:0123456789ab"),
        ("nonsense", ""),
    ],
)
def test_units_and_containers(text: str, unit: str) -> None:
    assert processes.unit_in(text) == unit


def test_a_socket_of_this_process_is_found_with_each_of_its_descriptors() -> None:
    with socket.socket() as sock:
        other = os.dup(sock.fileno())
        try:
            inode = os.fstat(other).st_ino
            held, hidden = processes.socket_holders()
            assert [*HOLDER.iter_unpack(held[inode])] == [(os.getpid(), fd) for fd in sorted((sock.fileno(), other))]
            assert hidden == 0 or os.geteuid() != 0
        finally:
            os.close(other)


def test_who_a_process_is() -> None:
    assert processes.user_of(os.getpid()) == os.geteuid()
    assert processes.name_of(2**30) == "?" and processes.user_of(2**30) is None
    assert processes.user_name(0) == "root" and processes.user_name(2**31) == str(2**31)
