"""serve as a library: in a with block, from a thread, from asyncio; what it promises when it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import trustme

import echowire
from echowire import Closed, Endpoint, Limits, Listening, OperationError, Serving, Stopped, UsageError
from echowire.verbs.serve import ServingOptions
from echowire.verbs.served import endpoint_groups


def test_the_example_of_the_readme() -> None:
    with echowire.serve("tcp://127.0.0.1:0") as server, echowire.call(server.endpoint) as peer:
        assert peer.echo(b"hello") == b"hello"
    assert server.summary.connections == 1
    assert server.summary.received_bytes == server.summary.sent_bytes == 5


def test_without_a_scheme_it_is_tcp_and_udp_on_one_port() -> None:
    with echowire.serve("127.0.0.1:0") as server:
        assert [endpoint.transport for endpoint in server.endpoints] == ["tcp", "udp"]
        assert len({endpoint.port for endpoint in server.endpoints}) == 1
        for endpoint in server.endpoints:
            with echowire.call(endpoint) as peer:
                assert peer.echo(b"both") == b"both"


@pytest.mark.parametrize(
    ("given", "tls", "streams_only", "expected"),
    [
        ((), False, False, ["tcp://127.0.0.1:12345", "udp://127.0.0.1:12345"]),
        ((":7",), False, False, ["tcp://:7", "udp://:7"]),
        (("host",), False, False, ["tcp://host:12345", "udp://host:12345"]),
        (("host:7",), True, False, ["tls://host:7"]),
        (("host:7",), False, True, ["tcp://host:7"]),
        (("udp://host:7", "unix:/a"), True, False, ["udp://host:7", "unix:/a"]),
        ((Endpoint("udp", "::1", 9),), False, False, ["udp://[::1]:9"]),
    ],
)
def test_what_an_argument_stands_for(
    given: tuple[str | Endpoint, ...], tls: bool, streams_only: bool, expected: list[str]
) -> None:
    groups = endpoint_groups(given, tls=tls, streams_only=streams_only)
    assert [endpoint.url for group in groups for endpoint in group] == expected


def test_from_asyncio_by_to_thread() -> None:
    async def main() -> bytes:
        server = await asyncio.to_thread(echowire.serve, "tcp://127.0.0.1:0")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoint.port)
            writer.write(b"async")
            data = await reader.readexactly(5)
            writer.close()
            await writer.wait_closed()
            return data
        finally:
            await asyncio.to_thread(server.__exit__)

    assert asyncio.run(main()) == b"async"


def test_events_come_in_order_and_the_last_is_the_summary() -> None:
    events: list[echowire.Event] = []
    with echowire.serve("127.0.0.1:0", on_event=events.append) as server:
        with socket.create_connection((server.endpoint.host, server.endpoint.port), 10) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
    assert [event.kind for event in events] == ["listening", "listening", "accepted", "closed", "stopped"]
    assert isinstance(events[0], Listening) and events[0].endpoint == server.endpoint
    assert isinstance(events[3], Closed) and events[3].sent_bytes == 1
    assert isinstance(events[4], Stopped) and events[4].summary == server.summary


def test_a_handler_and_its_limits() -> None:
    def handler(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100)[::-1])

    with echowire.serve("127.0.0.1:0", handler=handler) as server:
        assert server.engine == "threads" and [e.transport for e in server.endpoints] == ["tcp"]
        with echowire.call(server.endpoint) as peer:
            assert peer.echo(b"abc") == b"cba"
    with pytest.raises(UsageError, match="module:function"):
        echowire.serve("127.0.0.1:0", handler=handler, workers=2)


def test_what_listens_beyond_loopback_has_an_idle_time() -> None:
    # A limit given by name alone leaves the others as they would be.
    for endpoint, limits in (("tcp://:0", None), ("tcp://:0", {"connections": 5}), ("tcp://127.0.0.1:0", Limits())):
        with echowire.serve(endpoint, limits=limits) as server:
            assert server.engine


@pytest.mark.parametrize(
    "options",
    [
        {"service": "gopher"},
        {"engine": "steam"},
        {"workers": 0},
        {"handler": "no_such_module:f"},
        {"tls": ("/no/such/file", "/no/such/file")},
        {"engine": "readiness", "handler": print},
    ],
)
def test_what_cannot_start_leaves_nothing_open(options: dict[str, object]) -> None:
    # The leak fixture looks for sockets and threads; the port must be free, too.
    with pytest.raises(UsageError):
        echowire.serve("127.0.0.1:0", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, b"127.0.0.1:0", 1.5, ("h",)])
def test_what_is_no_endpoint_is_refused_in_one_line(given: object) -> None:
    refused = "is no endpoint; give a text such as '127.0.0.1:12345'"
    for verb in (echowire.serve, echowire.call, echowire.bench):
        with pytest.raises(UsageError, match=refused):
            verb(given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"is no (target|endpoint); give a"):
        echowire.ping(given)  # type: ignore[arg-type]


def test_other_forms_of_an_endpoint(tmp_path: Path) -> None:
    with echowire.serve(0, tmp_path / "s") as server:
        assert [endpoint.transport for endpoint in server.endpoints] == ["tcp", "udp", "unix"]
        host, port = server.endpoint.host, server.endpoint.port
        for given in ((host, port), port, tmp_path / "s", str(server.endpoint), str(server.endpoints[1])):
            with echowire.call(given) as peer:
                assert peer.echo(b"each") == b"each"
        assert echowire.bench((host, port), count=5).document()["counts"]["echoed"] == 5
        assert echowire.ping((host, port), probe="tcp", count=1, interval_s=0).document()
    with echowire.serve(("127.0.0.1", 0)) as server:
        assert [endpoint.transport for endpoint in server.endpoints] == ["tcp", "udp"]


@pytest.mark.parametrize("engine", ["readiness", "threads"])
def test_a_context_of_one_s_own(engine: str) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile() as trusted, echowire.serve(0, tls=context, engine=engine) as server:
        assert [endpoint.transport for endpoint in server.endpoints] == ["tls"]
        with echowire.call(server.endpoint, tls_authorities=trusted) as peer:
            assert peer.echo(b"mine") == b"mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "workers": 2}, "give the certificate's and key's file"),
        ({"tls": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "the SSLContext is a client's"),
        ({"tls": "cert.pem"}, "tls is an ssl.SSLContext, or a pair"),
        ({"tls": ("cert.pem",)}, "tls is an ssl.SSLContext, or a pair"),
    ],
)
def test_what_tls_cannot_be_made_of(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        echowire.serve(0, **options)  # type: ignore[arg-type]


def test_a_taken_port_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OperationError) as caught:
            echowire.serve("tcp://127.0.0.1:0", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert caught.value.errno_name == "EADDRINUSE" and caught.value.meaning and caught.value.remedy


def test_wait_and_stop_from_another_thread() -> None:
    server = echowire.serve("tcp://127.0.0.1:0")
    assert not server.wait(0.01)
    threading.Thread(target=server.stop).start()
    assert server.wait(10)
    server.stop()  # when it has ended, it is nothing
    assert server.wait(0)


def test_workers_as_a_library(tmp_path: Path) -> None:
    with echowire.serve("127.0.0.1:0", workers=2) as server:
        for endpoint in server.endpoints * 5:
            with echowire.call(endpoint) as peer:
                assert peer.echo(b"work") == b"work"
    assert server.summary.connections == 5 and server.summary.datagrams_received == 5


def test_a_serving_is_changed_by_keywords() -> None:
    names = {field.name: get_type_hints(Serving)[field.name] for field in fields(Serving)}
    assert get_type_hints(ServingOptions) == names
    serving = Serving(service="discard", engine="threads")
    with echowire.serve("tcp://127.0.0.1:0", serving=serving, engine="readiness") as server:
        assert server.engine == "readiness"
        with echowire.call(server.endpoint) as peer:
            peer.send(b"x")
            peer.half_close()
            assert peer.recv() == b""


def test_a_wait_that_is_interrupted_can_be_taken_up_again() -> None:
    with echowire.serve("tcp://127.0.0.1:0") as server:
        press = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        with pytest.raises(KeyboardInterrupt):
            server.wait()
        press.join()
        assert not server.wait(0.01), "it serves on"
        with echowire.call(server.endpoint) as peer:
            assert peer.echo(b"hello") == b"hello"
    assert server.summary.connections == 1
