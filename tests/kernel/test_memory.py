"""Memory that begins with a page."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket

import pytest

from echowire.kernel.memory import whole_pages


@pytest.mark.parametrize("size", [1, mmap.PAGESIZE - 1, mmap.PAGESIZE, 512 * 1024 + 1])
def test_it_begins_with_a_page_and_is_as_large_as_asked(size: int) -> None:
    room = whole_pages(size)
    assert len(room) == size
    assert bytes(room) == bytes(size)
    assert ctypes.addressof(ctypes.c_char.from_buffer(room)) % mmap.PAGESIZE == 0


def test_a_socket_s_bytes_are_received_into_it() -> None:
    room = whole_pages(16)
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"question")
        assert here.recv_into(room) == 8
    assert bytes(room[:9]) == b"question\0"


def test_a_child_that_is_forked_has_its_own() -> None:
    room = whole_pages(1)
    if (child := os.fork()) == 0:
        room[0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert room[0] == 0
