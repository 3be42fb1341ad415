"""TLS contexts from files: what is wrong is said in one line, and nothing asks for a passphrase."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import trustme

from echowire.errors import UsageError
from echowire.kernel.connections.tls import server_context
from tests.peers import needs


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = trustme.CA()
    for name in ("one", "two"):
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    (tmp_path / "empty").touch()
    return tmp_path


def test_a_certificate_and_its_key(files: Path) -> None:
    assert server_context(files / "one.pem", files / "one.key").get_ciphers()


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("none", "one.key", "No such file"),
        ("one.pem", "none", "No such file"),
        ("one.pem", "two.key", "does not belong"),
        ("noise", "one.key", "not valid PEM"),
        ("empty", "one.key", "not valid PEM"),
        ("one.pem", "noise", "not valid PEM"),
        (".", "one.key", "directory"),
    ],
)
def test_what_is_wrong_is_said(files: Path, certificate: str, key: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        server_context(files / certificate, files / key)
    assert "\n" not in str(caught.value)


@needs("openssl")
def test_an_encrypted_key_is_not_asked_for(files: Path) -> None:
    encrypt = ["openssl", "pkcs8", "-topk8", "-passout", "pass:secret"]
    subprocess.run([*encrypt, "-in", files / "one.key", "-out", files / "locked.key"], check=True)
    assert b"ENCRYPTED" in (files / "locked.key").read_bytes()
    with pytest.raises(UsageError, match="passphrase"):
        server_context(files / "one.pem", files / "locked.key")
