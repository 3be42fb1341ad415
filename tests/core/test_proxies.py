"""What is said to proxies, without a socket: each answer, cut and wrong ones too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from echowire.core.proxies import Proxy, Step, negotiation
from echowire.errors import ProtocolError, UsageError
from echowire.model import Endpoint


def said(proxy: str, host: str, answers: Sequence[bytes], port: int = 80, **who: str) -> list[Step]:
    """What is said to a proxy that answers so."""
    steps = negotiation(Proxy.parse(proxy, **who), host, port)  # type: ignore[arg-type]
    found = [next(steps)]
    try:
        for answer in answers:
            found.append(steps.send(answer))
    except StopIteration:
        pass
    return found


OK = b"\5\0\0\1\x7f\0\0\1\0\x50"


def test_socks_with_a_name() -> None:
    steps = said("h", "example.org", [b"\5\0", OK[:5], OK[5:]])
    assert steps == [
        (b"\5\1\0", 2),
        (b"\5\1\0\3\x0bexample.org\0\x50", 5),
        (b"", 5),
    ]


@pytest.mark.parametrize(
    ("host", "address"),
    [("10.0.0.1", b"\1\x0a\0\0\1"), ("::1", b"\4" + bytes(15) + b"\1"), ("", b"\3\x09localhost")],
)
def test_socks_with_an_address(host: str, address: bytes) -> None:
    assert said("h", host, [b"\5\0"])[1].send == b"\5\1\0" + address + b"\0\x50"


@pytest.mark.parametrize(("answer", "rest"), [(b"\5\0\0\1\0", 5), (b"\5\0\0\4\0", 17), (b"\5\0\0\3\x0b", 13)])
def test_the_address_that_it_calls_from_is_read_whatever_it_is(answer: bytes, rest: int) -> None:
    assert said("h", "h", [b"\5\0", answer])[2].want == rest


def test_socks_with_a_user() -> None:
    steps = said("joe:secret@h", "h", [b"\5\2", b"\1\0", OK[:5], OK[5:]])
    assert steps[0].send == b"\5\2\0\2"
    assert steps[1] == (b"\1\3joe\6secret", 2)
    with pytest.raises(ProtocolError, match="does not accept this user"):
        said("h", "h", [b"\5\2", b"\1\1"], user="joe", password="wrong")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([b"HT"], "does not speak SOCKS 5"),
        ([b"\5\xff"], "--proxy-auth"),
        ([b"\5\0", b"\5\5\0\1\0"], r"the proxy says: connection refused \(SOCKS 5 reply 5\)"),
        ([b"\5\0", b"\5\x63\0\1\0"], "it failed"),
    ],
)
def test_socks_refusals(answers: list[bytes], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        said("h", "h", answers)


def test_http() -> None:
    [step] = said("http://h", "example.org", [b"HTTP/1.1 200 Connection established\r\n\r\n"])
    assert step == (b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n", None)
    [step] = said("http://joe:secret@h", "::1", [b"HTTP/1.0 200 OK\n\n"])
    assert step.send.startswith(b"CONNECT [::1]:80 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic am9lOnNlY3JldA==\r\n" in step.send


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "--proxy-auth"),
        (b"HTTP/1.1 403 For\x1bbidden\r\n\r\n", r"the proxy says: 403 For\\x1bbidden"),
        (b"\5\0", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
    ],
)
def test_http_refusals(answer: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        said("http://h", "h", [answer])


@pytest.mark.parametrize("host", ["h\r\nX: y", "h h"])
def test_a_host_cannot_bring_a_header_along(host: str) -> None:
    with pytest.raises(UsageError):
        said("http://h", host, [])


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(UsageError, match="at most 255 bytes"):
        said("h", "h" * 256, [b"\5\0"])


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("h", Proxy("socks5", Endpoint("tcp", "h", 1080))),
        ("h:9", Proxy("socks5", Endpoint("tcp", "h", 9))),
        ("http://h", Proxy("http", Endpoint("tcp", "h", 3128))),
        ("http://[::1]:8080/", Proxy("http", Endpoint("tcp", "::1", 8080))),
        ("socks5://a:b@h:9", Proxy("socks5", Endpoint("tcp", "h", 9), "a", "b")),
    ],
)
def test_a_proxy_as_it_is_written(text: str, proxy: Proxy) -> None:
    assert Proxy.parse(text) == proxy
    assert "password" not in repr(proxy)


def test_a_proxy_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="a proxy speaks socks5 or http"):
        Proxy.parse("ftp://h")
    assert Proxy.parse("h", kind="http").kind == "http"
    assert Proxy.parse("socks5://h", kind="http").kind == "socks5"
