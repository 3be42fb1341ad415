"""Certificates as they are read here, held against `cryptography`, and damaged."""

from __future__ import annotations

import random
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from echowire.core.certificates import Certificate, read_certificate, sent_chain
from tests.certificates import DAY, Workshop, now


def der_of(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n")


@pytest.fixture(scope="module")
def der(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return der_of(
        Workshop(tmp_path_factory.mktemp("ca")).make("www.example.org", "192.0.2.1", "2001:db8::1").certificate
    )


def as_cryptography_has_it(der: bytes) -> Certificate:
    theirs = x509.load_der_x509_certificate(der)
    names: list[str] = []
    try:
        for name in theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value:
            if isinstance(name, x509.DNSName | x509.IPAddress):
                names.append(str(name.value))
    except x509.ExtensionNotFound:
        pass
    names = names or [str(one.value) for one in theirs.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    try:
        is_authority = theirs.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    return Certificate(
        theirs.subject.rfc4514_string().replace(",", ", "),
        theirs.issuer.rfc4514_string().replace(",", ", "),
        tuple(names),
        theirs.not_valid_before_utc,
        theirs.not_valid_after_utc,
        is_authority,
    )


def test_it_is_as_cryptography_has_it(der: bytes, tmp_path: Path) -> None:
    assert read_certificate(der) == as_cryptography_has_it(der)
    authority = der_of(Workshop(tmp_path).trusted)
    assert read_certificate(authority) == as_cryptography_has_it(authority)
    assert read_certificate(authority).is_authority and read_certificate(authority).is_self_signed


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_those_of_this_system_are_as_cryptography_has_them() -> None:
    """Some 140 of all the world's authorities: old encodings, GeneralizedTime, names in any script."""
    ders = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not ders:
        pytest.skip("this system has no authorities")
    for der in ders:
        ours, theirs = read_certificate(der), as_cryptography_has_it(der)
        assert (ours.names, ours.not_before, ours.not_after) == (theirs.names, theirs.not_before, theirs.not_after)
        assert ours.is_authority == theirs.is_authority


def test_days_left(der: bytes) -> None:
    one = read_certificate(der)
    assert one.days_left(one.not_after - DAY) == 1
    assert one.days_left(one.not_after) == 0
    assert one.days_left(one.not_after + DAY / 2) == -1


def test_times_of_both_forms(tmp_path: Path) -> None:
    """Up to 2049 a year has two digits, then four (RFC 5280, section 4.1.2.5)."""
    shop = Workshop(tmp_path)
    for year in (2049, 2051):
        end = datetime(year, 6, 1, tzinfo=UTC)
        made = shop.make("localhost", not_before=now() - DAY, not_after=end)
        assert read_certificate(der_of(made.certificate)).not_after == end


def test_cut_anywhere_and_damaged_it_is_a_value_error_or_read(der: bytes) -> None:
    for end in range(len(der)):
        with pytest.raises(ValueError):
            read_certificate(der[:end])
    draw = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(der)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            read_certificate(bytes(damaged))
        except ValueError:
            pass


def test_the_chain_of_a_first_flight() -> None:
    """Two messages over three records, cut in the middle of a message, as TLS 1.2 may."""
    listed = b"\0\0\x03one" + b"\0\0\x03two"
    certificate = b"\x0b" + (len(listed) + 3).to_bytes(3, "big") + len(listed).to_bytes(3, "big") + listed
    messages = b"\x02\0\0\x02hi" + certificate
    records = b"".join(
        b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in (messages[:3], messages[3:12], messages[12:])
    )
    assert sent_chain(records) == [b"one", b"two"]
    for end in range(len(records) + 1):
        assert len(sent_chain(records[:end])) <= 2
    assert sent_chain(b"") == sent_chain(b"220 I speak plainly\r\n") == []
