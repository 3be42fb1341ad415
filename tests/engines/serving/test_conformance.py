"""Every engine against the public conformance suite, over every transport that it serves."""

from __future__ import annotations

import ssl

import pytest
import trustme

from echowire.engines.serving.base import Engine, Job, Report
from echowire.engines.serving.readiness import Readiness
from echowire.engines.serving.threads import Threads
from echowire.kernel.connections.poller import SelectorsPoller
from echowire.model import Closed
from echowire.testing import DatagramConformance, StreamConformance


class _Readiness:
    def make_engine(self, job: Job, report: Report) -> Engine:
        return Readiness(job, report)


class _Selectors:
    """The readiness engine as it is where there is no epoll."""

    def make_engine(self, job: Job, report: Report) -> Engine:
        return Readiness(job, report, SelectorsPoller)


class _Threads:
    def make_engine(self, job: Job, report: Report) -> Engine:
        return Threads(job, report)


class _Tls:
    url = "tls://127.0.0.1:0"
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def contexts(cls) -> None:
        authority = trustme.CA()
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        cls.tls = (server, client)


class TestReadiness(_Readiness, StreamConformance, DatagramConformance):
    pass


class TestReadinessIpv6(_Readiness, StreamConformance, DatagramConformance):
    url = "tcp://[::1]:0"
    datagram_url = "udp://[::1]:0"


class TestReadinessUnix(_Readiness, StreamConformance, DatagramConformance):
    url = "unix:{folder}/stream"
    datagram_url = "unixgram:{folder}/datagram"
    largest = 100_000


class TestReadinessTls(_Readiness, _Tls, StreamConformance):
    pass


class TestSelectors(_Selectors, StreamConformance, DatagramConformance):
    pass


class TestThreads(_Threads, StreamConformance, DatagramConformance):
    pass


class TestThreadsIpv6(_Threads, StreamConformance, DatagramConformance):
    url = "tcp://[::1]:0"
    datagram_url = "udp://[::1]:0"


class TestThreadsUnix(_Threads, StreamConformance, DatagramConformance):
    url = "unix:{folder}/stream"
    datagram_url = "unixgram:{folder}/datagram"
    largest = 100_000


class TestThreadsTls(_Threads, _Tls, StreamConformance):
    pass


@pytest.mark.parametrize("kind", [TestReadinessTls, TestThreadsTls])
def test_who_connects_and_says_nothing_does_not_hold_a_connection(
    kind: type[StreamConformance], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("handshakes", "threads"):
        monkeypatch.setattr(f"echowire.engines.serving.{module}.HANDSHAKE_S", 0.1)
    suite = kind()
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    suite.tls = (server, ssl.create_default_context())
    with suite.serving() as at_work:
        sock, address = suite.socket_for(at_work.endpoints[0])
        with sock:
            sock.connect(address)
            assert sock.recv(1) == b""
        [closed] = at_work.wait_for(Closed)
        assert isinstance(closed, Closed) and not closed.received_bytes
