"""Why TLS failed: of a certificate its fault, by name, and the remedy that fits that fault; of a handshake what the two
did not agree on. Pure: OpenSSL's verdict, what the peer sent and the time go in, words come out.

A verdict has a number (openssl/x509_vfy.h), of which some share one cause and one stands for several. What the chain
shows decides between those; where it is not known, both are said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from echowire.core.certificates import Certificate
from echowire.core.text import printable

NO_ISSUER_THERE, NOT_YET_VALID, EXPIRED = 2, 9, 10
SELF_SIGNED, SELF_SIGNED_IN_CHAIN, NO_ISSUER_HERE, FIRST_UNVERIFIED = 18, 19, 20, 21
WRONG_PURPOSE, WRONG_HOST, WRONG_ADDRESS = 26, 62, 64

MOST_NAMES = 5
"""Of the names of a certificate, as many are said."""

HEARD_BYTES = 40


@dataclass(frozen=True, slots=True)
class Verdict:
    """OpenSSL's verdict on a peer's certificate, and what is known of it.

    `chain` is what the peer sent, its own certificate first, and empty where that is not known; `is_whole` says whether
    it is all of it. `name` is whom the certificate had to be for, `now` the time of this host's clock (UTC).
    """

    number: int
    message: str
    name: str
    chain: Sequence[Certificate]
    is_whole: bool
    now: datetime
    has_own_authorities: bool = False
    """Whether those that are trusted were named, instead of the system's."""


def certificate_fault(verdict: Verdict) -> str:
    """What is wrong with the certificate; and what to do about that."""
    rule = _RULES.get(verdict.number)
    said = rule(verdict) if rule is not None and verdict.chain else ""
    return said or _unread(verdict)


def _validity(verdict: Verdict) -> str:
    """Of those sent the one that is out of its time; which one, the verdict does not say."""
    now = verdict.now
    for place, one in enumerate(verdict.chain):
        whose = "it" if place == 0 else f"the one of {_safe(one.subject)} above it in the chain"
        if one.not_after < now:
            return (
                f"{whose} expired on {_date(one.not_after)}, {_days((now - one.not_after).days)} ago; have it renewed "
                f"at the server, or set this host's clock if it is not {_date(now)}"
            )
        if one.not_before > now:
            return (
                f"{whose} is not valid before {_date(one.not_before)}; set this host's clock if it is not "
                f"{_date(now)}, or have one made that is valid now"
            )
    what = "has expired" if verdict.number == EXPIRED else "is not valid yet"
    return f"an authority's above it {what}, and not the peer's own; have the chain renewed, or trust a newer authority"


def _name(verdict: Verdict) -> str:
    names = verdict.chain[0].names
    listed = ", ".join(map(_safe, names[:MOST_NAMES])) + (
        f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else ""
    )
    if not names:
        return f"it names no host, and is to be for {verdict.name}; have one made with that name (subjectAltName)"
    return (
        f"it is for {listed}, and not for {verdict.name}; call the peer by a name that it has, say which with "
        f"--tls-name, or have one made for {verdict.name}"
    )


def _self_signed(verdict: Verdict) -> str:
    return (
        f"{_safe(verdict.chain[0].subject)} signed it itself; if it is the one that you expect, trust it by "
        "--tls-ca with the certificate itself, or check nothing: --tls-insecure"
    )


def _unknown_authority(verdict: Verdict) -> str:
    """No way to somebody who is trusted: the last one sent tells who would have to be, if it is not the only one."""
    trusted = "in the file of --tls-ca" if verdict.has_own_authorities else "among this system's authorities"
    linked = _linked(verdict.chain)
    own, last = linked[0], linked[-1]
    if last.is_self_signed:
        return f"it goes back to {_safe(last.subject)}, who is not {trusted}; {_name_or_skip(last.subject)}"
    if len(linked) > 1:
        return (
            f"its chain ends with {_safe(last.subject)}, signed by {_safe(last.issuer)}, who is not {trusted}; "
            f"{_name_or_skip(last.issuer)}"
        )
    alone = ", and the peer sent no certificate but its own" if verdict.is_whole else ""
    return (
        f"{_safe(own.issuer)} signed it, who is not {trusted}{alone}; if that is the authority itself, name its "
        "certificate with --tls-ca; if it is an intermediate one, have the server send its certificate too (the full "
        "chain)"
    )


def _linked(chain: Sequence[Certificate]) -> list[Certificate]:
    """Of what was sent, the peer's own and those that lead upward from it; some servers send more, or one twice."""
    linked = [chain[0]]
    for one in chain[1:]:
        if one.subject == linked[-1].issuer and not linked[-1].is_self_signed:
            linked.append(one)
    return linked


def _purpose(verdict: Verdict) -> str:
    return "it is not made for a server (extendedKeyUsage); have one made with serverAuth"


def _unread(verdict: Verdict) -> str:
    """Where the certificate was not seen, or its fault has no rule: OpenSSL's words, and what surely fits."""
    said = printable(verdict.message.rstrip("."))
    remedy = _UNREAD.get(verdict.number, "look at it with openssl x509 -text, or skip the check: --tls-insecure")
    return f"{said}; {remedy}"


_RULES = {
    EXPIRED: _validity,
    NOT_YET_VALID: _validity,
    WRONG_HOST: _name,
    WRONG_ADDRESS: _name,
    SELF_SIGNED: _self_signed,
    SELF_SIGNED_IN_CHAIN: _unknown_authority,
    NO_ISSUER_THERE: _unknown_authority,
    NO_ISSUER_HERE: _unknown_authority,
    FIRST_UNVERIFIED: _unknown_authority,
    WRONG_PURPOSE: _purpose,
}

_AUTHORITY = "name its authority with --tls-ca, or skip the check: --tls-insecure"
_UNREAD: Mapping[int, str] = {
    EXPIRED: "have it renewed, or see whether this host's clock is right",
    NOT_YET_VALID: "see whether this host's clock is right",
    WRONG_HOST: "call the peer by a name that its certificate has, or say which with --tls-name",
    WRONG_ADDRESS: "call the peer by a name that its certificate has, or say which with --tls-name",
    SELF_SIGNED: _AUTHORITY,
    SELF_SIGNED_IN_CHAIN: _AUTHORITY,
    NO_ISSUER_THERE: _AUTHORITY,
    NO_ISSUER_HERE: _AUTHORITY,
    FIRST_UNVERIFIED: _AUTHORITY,
}


def _name_or_skip(who: str) -> str:
    return f"if you trust {_safe(who)}, name its certificate with --tls-ca; or skip the check: --tls-insecure"


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake, or what came after it, that failed: OpenSSL's `reason`, and what is known of both sides.

    `sent` and `heard` are the first bytes that went and came, `offered` the protocols of ALPN, `versions` those that
    this side speaks, in words.
    """

    reason: str
    is_server: bool = False
    sent: bytes = b""
    heard: bytes = b""
    offered: Sequence[str] = ()
    versions: str = ""
    has_certificate: bool = False
    was_asked: bool = False
    """Whether the peer was heard to ask for a client's certificate."""


NO_TLS = frozenset(
    {"wrong version number", "record layer failure", "unexpected message", "http request", "packet length too long"}
)
ENDED = frozenset({"unexpected eof while reading"})


def handshake_fault(failed: Handshake) -> str:
    """What is wrong, and what to do where that is known."""
    reason = failed.reason
    if reason in NO_TLS and failed.heard[:16] and failed.sent.startswith(failed.heard[:16]):
        return "the peer does not speak TLS: it sends back what it is sent, an echo; call it without TLS"
    if failed.is_server and reason in NO_TLS:
        return f"the client does not speak TLS ({reason})"
    if reason in NO_TLS and failed.heard[:1] not in (b"\x15", b"\x16"):
        return f"the peer does not speak TLS: {_speaks(failed)}"
    if reason in NO_TLS:
        return f"the peer does not speak TLS as it must ({reason})"
    alert = reason.partition("alert ")[2]
    rule = ALERTS.get(alert) or ALERTS.get(reason)
    return f"{rule(failed)} ({reason})" if rule is not None else reason


def _speaks(failed: Handshake) -> str:
    """What it was that came instead, and how to speak with that."""
    heard = failed.heard
    said = printable(heard[:HEARD_BYTES].strip().partition(b"\n")[0].decode("utf-8", "replace").rstrip())
    for beginnings, what in SPEAKERS:
        if heard.upper().startswith(beginnings):
            return f"it says '{said}'; {what}"
    return f"it says '{said}'; call it without TLS, or find the port that has it"


SPEAKERS: Sequence[tuple[tuple[bytes, ...], str]] = (
    ((b"220", b"554"), "mail and FTP servers begin in the clear: try --starttls smtp, or --starttls ftp"),
    ((b"* OK", b"* PREAUTH"), "it is IMAP, which begins in the clear: try --starttls imap"),
    ((b"+OK",), "it is POP3, which begins in the clear: try --starttls pop3"),
    ((b"HTTP/", b"<!DOCTYPE", b"<HTML"), "it is HTTP in the clear: its TLS is on another port, usually 443"),
    ((b"SSH-",), "it is SSH, which has no TLS"),
)


def _wants_certificate(failed: Handshake) -> str:
    if failed.is_server:
        return "the client sent no certificate, and has to: --tls-client-ca asks for one"
    return "the peer asks for a client's certificate, and none was given; give --tls-cert and --tls-key"


def _handshake_failure(failed: Handshake) -> str:
    if failed.was_asked and not failed.has_certificate:
        return _wants_certificate(failed)
    if failed.is_server or failed.has_certificate:
        return "the peer found nothing that both accept: a cipher, a version, or a certificate"
    return "the peer found nothing that both accept; it may ask for a client's certificate: --tls-cert and --tls-key"


def _versions(failed: Handshake) -> str:
    speaks = f"; here it is {failed.versions}" if failed.versions else ""
    return f"the versions of TLS do not meet{speaks}. Change it here with --tls-min and --tls-max, or there"


def _alpn(failed: Handshake) -> str:
    offered = ", ".join(failed.offered)
    return f"the peer takes none of the protocols offered ({offered or 'none'}); give another --alpn"


def _unknown_ca(failed: Handshake) -> str:
    whose = "the server's" if failed.is_server else "the client's"
    remedy = (
        "have it trust the issuer, or send the whole chain"
        if failed.is_server
        else ("give one of --tls-cert that an authority of the server's has signed, with its chain")
    )
    return f"the peer does not know who signed {whose} certificate; {remedy}"


def _bad_certificate(failed: Handshake) -> str:
    whose = "the server's" if failed.is_server else "the client's"
    return f"the peer does not accept {whose} certificate: see when it ends, whom it is for, and its use"


def _no_name(failed: Handshake) -> str:
    return "the peer has nothing under that name; say another with --tls-name"


ALERTS = {
    "certificate required": _wants_certificate,
    "peer did not return a certificate": _wants_certificate,
    "handshake failure": _handshake_failure,
    "no shared cipher": _handshake_failure,
    "protocol version": _versions,
    "unsupported protocol": _versions,
    "no protocols available": _versions,
    "version too low": _versions,
    "no application protocol": _alpn,
    "unknown ca": _unknown_ca,
    "bad certificate": _bad_certificate,
    "certificate expired": _bad_certificate,
    "certificate unknown": _bad_certificate,
    "unsupported certificate": _bad_certificate,
    "certificate revoked": _bad_certificate,
    "unrecognized name": _no_name,
}
"""By what the peer's alert says (RFC 8446, section 6.2), or OpenSSL here."""


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d")


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"


def _safe(text: str) -> str:
    return printable(text) or "nobody"
