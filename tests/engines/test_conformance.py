"""Every engine against the public conformance suite, over every transport that it serves."""

from __future__ import annotations

import ssl

import pytest
import trustme

from echowire.engines.base import Engine, Job, Report
from echowire.engines.readiness import Readiness
from echowire.engines.threads import Threads
from echowire.kernel.poller import SelectorsPoller
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
