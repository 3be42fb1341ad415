"""Channels that only send, while their own receive buffer overruns (`window_retraction`)."""

from __future__ import annotations

import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from echowire.core.tls_options import ClientTls
from echowire.kernel.connections.channel import SET_ASIDE_BYTES, Channel, StreamChannel, transfer
from echowire.kernel.connections.tls import TlsClient
from echowire.kernel.connections.tls_channel import TlsChannel
from echowire.model import Endpoint
from echowire.testing import PATIENCE_S
from tests.overrun import LARGE, PIECE, TRIES, account, has_room_in_time, write

SENT_BYTES = 16 * 1024 * 1024
"""More than both ends' buffers hold."""

BUFFER_BYTES = 128 * 1024


def connected() -> tuple[socket.socket, socket.socket]:
    """The client's end, with a receive buffer that does not grow, and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setblocking(False)
    return client, server


def received(channel: Channel, size: int) -> bytes:
    data = bytearray()
    until = time.monotonic() + PATIENCE_S
    while len(data) < size and time.monotonic() < until:
        data += channel.receive(size - len(data)) or b""
    return bytes(data)


def overrun(channel: Channel, server: socket.socket) -> bytes | None:
    """Have `server` use up the receive buffer of `channel`; what it sent, or None where the window was full first."""
    for _ in range(50):
        server.sendall(LARGE)
        assert received(channel, len(LARGE)) == LARGE
    server.setblocking(False)
    sent = bytearray()
    until = time.monotonic() + PATIENCE_S / 2
    while time.monotonic() < until:
        sent += PIECE
        for octet in PIECE:
            while not write(server, bytes([octet])):
                if time.monotonic() > until:
                    return None
        if (seen := account(channel.socket)).has_overrun and seen.drops:
            return bytes(sent)
    return None


def test_who_only_sends_reads_on_when_its_buffer_has_overrun() -> None:
    for _ in range(TRIES):
        client, server = connected()
        channel = StreamChannel(client, Endpoint("tcp", "127.0.0.1", 1))
        with server, ThreadPoolExecutor(1) as pool:
            try:
                if (told := overrun(channel, server)) is None:
                    continue
                sending = pool.submit(transfer, channel, bytes(SENT_BYTES), 0, PATIENCE_S)
                assert has_room_in_time(client)
                server.settimeout(PATIENCE_S)
                taken = 0
                while taken < SENT_BYTES:
                    taken += len(server.recv(1 << 20))
                assert sending.result().error is None and not sending.result().timed_out
                assert channel.has_more and received(channel, len(told)) == told
                return
            finally:
                channel.close()
    pytest.skip("nothing was tested: no buffer overran")


def test_what_is_set_aside_is_received_first_and_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("echowire.kernel.connections.channel.is_relieved", lambda sock: False)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = TlsClient.of(ClientTls(tls_authorities=tmp_path / "ca.pem", tls_name="localhost"))
    for encrypted in (False, True):
        client, server = connected()
        endpoint = Endpoint("tls" if encrypted else "tcp", "127.0.0.1", 1)
        channel: Channel = StreamChannel(client, endpoint)
        with ThreadPoolExecutor(1) as pool:
            if encrypted:
                channel = TlsChannel(client, endpoint, trusting)
                wrapped = pool.submit(context.wrap_socket, server, server_side=True)
                channel.handshake(None)
                server = wrapped.result()
        with server:
            server.sendall(b"first, ")
            while not channel._set_aside():
                pass
            server.sendall(b"then")
            assert len(channel._aside) <= SET_ASIDE_BYTES
            assert channel.has_more
            assert received(channel, 3) + received(channel, 8) == b"first, then"
            server.sendall(b"!")
            while not channel._set_aside():
                pass
            server.close()
            assert received(channel, 1) == b"!"
            while (end := channel.receive(1)) is None:
                pass
            assert end == b""
        channel.close()
