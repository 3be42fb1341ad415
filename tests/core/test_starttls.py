"""STARTTLS as pure steps: what is said when, in any pieces; what is refused; what may not follow the agreement."""

from __future__ import annotations

import pytest

from echowire.core.starttls import LINE_BYTES, LINES, PROTOCOLS, SSL_REQUEST, Negotiation, RefusedError

TALKS = {
    "smtp": (
        b"220-two\r\n220 lines\r\n250-me\r\n250-SIZE 100\r\n250-STARTTLS\r\n250 HELP\r\n220 go\r\n",
        b"EHLO localhost\r\nSTARTTLS\r\n",
    ),
    "imap": (b"* OK ready\r\n* CAPABILITY IMAP4rev1\r\na1 OK begin\r\n", b"a1 STARTTLS\r\n"),
    "pop3": (b"+OK ready\r\n+OK begin\r\n", b"STLS\r\n"),
    "ftp": (b"220-welcome\r\n to all\r\n220 here\r\n234 begin\r\n", b"AUTH TLS\r\n"),
    "postgres": (b"S", SSL_REQUEST),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("piece", [1, 3, 10_000])
def test_a_talk_in_pieces(protocol: str, piece: int) -> None:
    heard, wanted = TALKS[protocol]
    negotiation = Negotiation(protocol)
    said = negotiation.to_send
    for at in range(0, len(heard), piece):
        assert not negotiation.is_done
        said += negotiation.take(heard[at : at + piece])
    assert negotiation.is_done and said == wanted


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_follows_the_agreement_in_the_clear_is_refused(protocol: str) -> None:
    """CVE-2011-0411: somebody between may have put it there, and it would be taken for what TLS protects."""
    negotiation = Negotiation(protocol)
    with pytest.raises(RefusedError, match="in the clear behind"):
        negotiation.take(TALKS[protocol][0] + b"250 injected\r\n")


@pytest.mark.parametrize(
    ("protocol", "heard", "said"),
    [
        ("smtp", b"554 go away\r\n", "greets with '554 go away'"),
        ("smtp", b"220 me\r\n250 only this\r\n", "does not offer STARTTLS"),
        (
            "smtp",
            b"220 me\r\n250 STARTTLS\r\n454 no certificate\r\n",
            "'STARTTLS' was answered with '454 no certificate'",
        ),
        ("smtp", b"* OK imap\r\n", "is no answer of smtp"),
        ("smtp", b"220 me\r\n502 what\r\n", "'EHLO localhost' was answered with '502 what'"),
        ("smtp", b"220-x\r\n" * (LINES + 1), "is no answer of smtp"),
        ("imap", b"* BYE busy\r\n", "greets with '\\* BYE busy'"),
        ("imap", b"* OK hi\r\na1 BAD what\r\n", "'a1 STARTTLS' was answered with 'a1 BAD what'"),
        ("imap", b"* OK hi\r\n" + b"* x\r\n" * (LINES + 1), "was answered with"),
        ("pop3", b"-ERR no\r\n", "greets with '-ERR no'"),
        ("pop3", b"+OK\r\n-ERR \x1b[31mno\r\n", r"'STLS' was answered with '-ERR \\x1b\[31mno'"),
        ("ftp", b"220 hi\r\n530 log in first\r\n", "'AUTH TLS' was answered with '530 log in first'"),
        ("postgres", b"N", "ssl = on"),
        ("postgres", b"E", "no PostgreSQL server"),
    ],
)
def test_what_is_refused(protocol: str, heard: bytes, said: str) -> None:
    with pytest.raises(RefusedError, match=said) as caught:
        Negotiation(protocol).take(heard)
    assert str(caught.value).isprintable()


def test_a_line_without_end_is_not_kept() -> None:
    with pytest.raises(RefusedError, match="no smtp"):
        Negotiation("smtp").take(b"x" * (LINE_BYTES + 1))


def test_an_end_before_the_agreement() -> None:
    negotiation = Negotiation("smtp")
    negotiation.take(b"220 h")
    with pytest.raises(RefusedError, match="closed the connection after '220 h'"):
        negotiation.end()
