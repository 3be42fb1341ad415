"""TLS as it fails: a real handshake for each fault of a certificate, each look-alike, and the remedy that fits it.

The servers are Python's ssl and OpenSSL's own s_server; what is called is `echowire.call`.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import echowire
from echowire import ProtocolError, UsageError
from tests.certificates import DAY, Files, Workshop, now
from tests.peers import needs
from tests.plain_servers import echo, serving

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("acme"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("other"), "Other")


@contextmanager
def tls_echo(files: Files, only: ssl.TLSVersion | None = None, **more: object) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files.pair)
    if only is not None:
        context.minimum_version = context.maximum_version = only
    for name, value in more.items():
        setattr(context, name, value)
    with serving(echo, tls=context) as port:
        yield port


def refused(port: int, **how: object) -> str:
    """What the error says, on its one line."""
    with pytest.raises(ProtocolError) as caught:
        with echowire.call(f"tls://localhost:{port}", family=4, timeout=10, **how) as peer:  # type: ignore[arg-type]
            peer.echo(b"hello")
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("only", VERSIONS)
def test_an_expired_one_is_told_when_and_is_not_told_to_be_of_nobody(shop: Workshop, only: ssl.TLSVersion) -> None:
    files = shop.make("localhost", not_before=now() - 40 * DAY, not_after=now() - 28.5 * DAY)
    with tls_echo(files, only) as port:
        text = refused(port, tls_authorities=shop.trusted)
    assert f"it expired on {now() - 28.5 * DAY:%Y-%m-%d}, 28 days ago; have it renewed" in text
    assert f"clock if it is not {now():%Y-%m-%d}" in text
    assert "--tls-ca" not in text


def test_one_that_is_not_valid_yet(shop: Workshop) -> None:
    begins = now() + 3 * DAY
    with tls_echo(shop.make("localhost", not_before=begins, not_after=begins + DAY)) as port:
        text = refused(port, tls_authorities=shop.trusted)
    assert f"it is not valid before {begins:%Y-%m-%d}; set this host's clock" in text
    assert "--tls-ca" not in text


@pytest.mark.parametrize("only", VERSIONS)
def test_another_name_is_told_with_those_that_it_has(shop: Workshop, only: ssl.TLSVersion) -> None:
    with tls_echo(shop.make("www.example.org", "192.0.2.7"), only) as port:
        text = refused(port, tls_authorities=shop.trusted)
        assert (
            "it is for www.example.org, 192.0.2.7, and not for localhost; call the peer by a name that it has" in text
        )
        assert "--tls-name" in text and "--tls-ca" not in text
        with echowire.call(f"tls://localhost:{port}", tls_authorities=shop.trusted, tls_name="www.example.org") as peer:
            assert peer.echo(b"hello") == b"hello"


def test_of_many_names_some(shop: Workshop) -> None:
    with tls_echo(shop.make(*(f"n{number}.example.org" for number in range(8)))) as port:
        assert "n4.example.org and 3 more, and not for localhost" in refused(port, tls_authorities=shop.trusted)


def test_one_that_signed_itself(tmp_path: Path, shop: Workshop) -> None:
    certificate, key = tmp_path / "self.pem", tmp_path / "self.key"
    make: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    name = ["-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *name], check=True, capture_output=True)
    with tls_echo(Files(certificate, key)) as port:
        text = refused(port, tls_authorities=shop.trusted)
        assert "CN=localhost signed it itself; if it is the one that you expect, trust it by --tls-ca" in text
        with echowire.call(f"tls://localhost:{port}", tls_authorities=certificate) as peer:  # as the remedy says
            assert peer.echo(b"hello") == b"hello"


def test_the_right_name_and_an_unknown_authority(shop: Workshop, strangers: Workshop) -> None:
    with tls_echo(shop.make("localhost", with_chain=False)) as port:
        text = refused(port, tls_authorities=strangers.trusted)
        assert "OU=Root, O=Acme signed it, who is not in the file of --tls-ca" in text
        assert "if that is the authority itself, name its certificate with --tls-ca" in text
        assert "who is not among this system's authorities" in refused(port)


@pytest.mark.parametrize("only", VERSIONS)
def test_an_intermediate_that_the_server_does_not_send(shop: Workshop, only: ssl.TLSVersion) -> None:
    with tls_echo(shop.make("localhost", ca=shop.intermediate, with_chain=False), only) as port:
        text = refused(port, tls_authorities=shop.trusted)
    assert ("the peer sent no certificate but its own" in text) == (only == ssl.TLSVersion.TLSv1_2)
    assert "if it is an intermediate one, have the server send its certificate too (the full chain)" in text
    with tls_echo(shop.make("localhost", ca=shop.intermediate), only) as port:
        with echowire.call(f"tls://localhost:{port}", tls_authorities=shop.trusted) as peer:
            assert peer.echo(b"hello") == b"hello"


def test_a_whole_chain_to_somebody_unknown(shop: Workshop, strangers: Workshop) -> None:
    with tls_echo(shop.make("localhost", ca=shop.intermediate)) as port:
        text = refused(port, tls_authorities=strangers.trusted)
    assert "signed by OU=Root, O=Acme, who is not in the file of --tls-ca; if you trust OU=Root, O=Acme" in text


def test_an_expired_intermediate_is_named_and_not_the_peers_own(tmp_path: Path, shop: Workshop) -> None:
    """Made by openssl, since trustme's authorities live for a thousand years."""
    make_chain_with_expired_middle(tmp_path)
    with tls_echo(Files(tmp_path / "chain.pem", tmp_path / "leaf.key")) as port:
        text = refused(port, tls_authorities=tmp_path / "root.pem")
    assert "the one of CN=Middle above it in the chain expired on" in text


def make_chain_with_expired_middle(folder: Path) -> None:
    """root.pem, chain.pem (the leaf, and above it one that has expired) and leaf.key, by `cryptography`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("Root", "Middle", "localhost")}
    pems = {}
    for name, issuer, end in (("Root", "Root", 9), ("Middle", "Root", -2), ("localhost", "Middle", 9)):
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - 9 * DAY)
            .not_valid_after(now() + end * DAY)
            .add_extension(x509.BasicConstraints(ca=name != "localhost", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(keys[issuer], hashes.SHA256())
        )
        pems[name] = made.public_bytes(serialization.Encoding.PEM)
    (folder / "root.pem").write_bytes(pems["Root"])
    (folder / "chain.pem").write_bytes(pems["localhost"] + pems["Middle"])
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "leaf.key").write_bytes(keys["localhost"].private_bytes(*form))


@pytest.mark.parametrize("only", VERSIONS)
def test_a_peer_that_asks_for_a_certificate(shop: Workshop, strangers: Workshop, only: ssl.TLSVersion) -> None:
    """With TLS 1.3 the peer judges when our handshake is done: its alert comes to the first use of the connection."""
    ours, others = shop.make("me@example.org"), strangers.make("me@example.org")
    with echowire.serve(
        "tls://127.0.0.1:0",
        tls=shop.make("localhost").pair,
        tls_client_authorities=shop.trusted,
        tls_max=only.name[-3:].replace("_", "."),
    ) as server:
        port, how = server.endpoint.port, {"tls_authorities": shop.trusted}
        assert "give --tls-cert and --tls-key" in refused(port, **how)
        shown = {"tls_certificate": others.certificate, "tls_key": others.key}
        assert "the peer does not know who signed the client's certificate" in refused(port, **how, **shown)
        with echowire.call(
            f"tls://localhost:{port}", tls_authorities=shop.trusted, tls_certificate=ours.certificate, tls_key=ours.key
        ) as peer:
            assert peer.echo(b"hello") == b"hello"


def test_an_expired_client_is_told_to_the_server_by_name(shop: Workshop) -> None:
    old = shop.make("me@example.org", not_before=now() - 4 * DAY, not_after=now() - DAY)
    reasons: list[str] = []

    def note(event: echowire.Event) -> None:
        if isinstance(event, echowire.Closed):
            reasons.append(event.reason)

    with echowire.serve(
        "tls://127.0.0.1:0", tls=shop.make("localhost").pair, tls_client_authorities=shop.trusted, on_event=note
    ) as server:
        how = {"tls_certificate": old.certificate, "tls_key": old.key, "tls_authorities": shop.trusted}
        assert "the peer does not accept the client's certificate" in refused(server.endpoint.port, **how)
    assert reasons == ["TLS failed: the client's certificate is not accepted: certificate has expired"]


def test_the_second_look_shows_nothing_of_ours(shop: Workshop, strangers: Workshop) -> None:
    """A peer that is not trusted is called again without the client's certificate."""
    seen: list[object] = []

    def note(sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        seen.append(sock.getpeercert(binary_form=True))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(shop.trusted))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(*strangers.make("localhost").pair)
    ours = shop.make("me@example.org")
    how = {"tls_authorities": shop.trusted, "tls_certificate": ours.certificate, "tls_key": ours.key}
    with serving(note, tls=context) as port:
        assert "O=Other signed it, who is not in the file" in refused(port, **how)
    assert seen == [None]


def test_versions_that_do_not_meet(shop: Workshop) -> None:
    files = shop.make("localhost")
    with tls_echo(files, ssl.TLSVersion.TLSv1_2) as port:
        text = refused(port, tls_authorities=shop.trusted, tls_min="1.3")
        assert "the versions of TLS do not meet; here it is 1.3. Change it here with --tls-min and --tls-max" in text
        with echowire.call(f"tls://localhost:{port}", tls_authorities=shop.trusted) as peer:
            assert peer.tls is not None and peer.tls[0] == "TLSv1.2"
    with tls_echo(files, ssl.TLSVersion.TLSv1_3) as port:
        assert "here it is 1.2." in refused(port, tls_authorities=shop.trusted, tls_max="1.2")
    with echowire.serve("tls://127.0.0.1:0", tls=files.pair, tls_min="1.3") as server:
        assert "do not meet" in refused(server.endpoint.port, tls_authorities=shop.trusted, tls_max="1.2")


def test_alpn_is_agreed_on(shop: Workshop) -> None:
    files = shop.make("localhost")
    for workers in (1, 2):
        with echowire.serve("tls://127.0.0.1:0", tls=files.pair, tls_alpn=["h2", "echo"], workers=workers) as server:
            for offered, agreed in ((["echo", "h2"], "h2"), (["x", "echo"], "echo"), (["x"], None), ([], None)):
                at = f"tls://localhost:{server.endpoint.port}"
                with echowire.call(at, tls_authorities=shop.trusted, tls_alpn=offered) as peer:
                    assert peer.tls_alpn == agreed
                    assert peer.echo(b"hello") == b"hello"


@pytest.mark.parametrize(
    ("says", "remedy"),
    [
        (b"220 mail.example.org ESMTP\r\n", "try --starttls smtp, or --starttls ftp"),
        (b"* OK IMAP4rev1 ready\r\n", "try --starttls imap"),
        (b"+OK POP3 ready\r\n", "try --starttls pop3"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "usually 443"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "which has no TLS"),
        (b"\x1b[2Jwhat\r\n", r"it says '\x1b[2Jwhat'; call it without TLS"),
    ],
)
def test_a_peer_that_speaks_something_else(says: bytes, remedy: str) -> None:
    def speak(sock: socket.socket) -> None:
        sock.sendall(says * 20)
        sock.recv(10_000)

    with serving(speak) as port:
        text = refused(port)
    assert "the peer does not speak TLS: it says '" in text and remedy in text


def test_an_echo_without_tls_is_known_by_its_hello() -> None:
    with serving(echo) as port:
        assert "it sends back what it is sent, an echo; call it without TLS" in refused(port)


def test_the_chain_is_told(shop: Workshop) -> None:
    with tls_echo(shop.make("localhost", ca=shop.intermediate), ssl.TLSVersion.TLSv1_2) as port:
        with echowire.call(f"tls://localhost:{port}", tls_authorities=shop.trusted) as peer:
            own, above = peer.certificates[:2]
    assert own.names == ("localhost",) and own.issuer == above.subject and above.issuer == "OU=Root, O=Acme"
    assert above.is_authority and own.days_left(now()) > 300_000


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tls_min": "1.4"}, "'1.4' is no version of TLS"),
        ({"tls_min": "1.3", "tls_max": "1.2"}, "the lowest version, 1.3, is above the highest, 1.2"),
        ({"tls_alpn": [""]}, "'' is no protocol of ALPN"),
        ({"tls_alpn": ["x" * 256]}, "no protocol of ALPN"),
        ({"tls_key": "k.pem"}, "a key without its certificate"),
        ({"starttls": "gopher"}, "'gopher' has no STARTTLS here; one of smtp, imap"),
        ({"tls_certificate": "/none.pem"}, "TLS certificate /none.pem: No such file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_called(how: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        echowire.call("tls://127.0.0.1:1", **how)  # type: ignore[arg-type]


def test_choices_beside_a_context_are_refused(shop: Workshop) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(UsageError, match="beside a certificate and its key"):
        echowire.Serving(tls=context, tls_alpn=["h2"])


def test_a_load_shows_its_certificate(shop: Workshop) -> None:
    ours = shop.make("me@example.org")
    with echowire.serve(
        "tls://127.0.0.1:0", tls=shop.make("localhost").pair, tls_client_authorities=shop.trusted
    ) as server:
        at, how = f"tls://localhost:{server.endpoint.port}", {"tls_authorities": str(shop.trusted)}
        shown = {"tls_certificate": str(ours.certificate), "tls_key": str(ours.key)}
        measured = echowire.bench(at, count=20, connections=2, **how, **shown)  # type: ignore[arg-type]
        assert measured.ok and measured.outcomes.echoed == 20
        measured = echowire.bench(at, count=20, **how)  # type: ignore[arg-type]
        assert not measured.ok and any("give --tls-cert and --tls-key" in said for said in measured.failures)


@needs("openssl")
def test_an_authority_that_trustme_made_is_used(shop: Workshop) -> None:
    """The fixtures themselves: openssl verifies what the tests call good."""
    files = shop.make("localhost", ca=shop.intermediate)
    verify: list[str | Path] = [
        "openssl",
        "verify",
        "-CAfile",
        shop.trusted,
        "-untrusted",
        files.certificate,
        files.certificate,
    ]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    assert isinstance(shop.ca, trustme.CA)
