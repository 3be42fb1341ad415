"""Real servers that begin in the clear and go on with TLS: Postfix, Dovecot, vsftpd, PostgreSQL.

Each has a folder of its own, a free port of loopback, and ends with the block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Files
from tests.plain_servers import free_port

PATIENCE_S = 60.0
POLL_S = 0.05
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"


@contextmanager
def starttls_server(protocol: str, files: Files) -> Iterator[int]:
    """The port of a server of `protocol` that shows the certificate of `files`. Skips where it is not installed."""
    if os.geteuid() != 0:
        pytest.skip("these servers are started by root")
    # They go on as users of their own, who may not come to a folder of root's, as pytest's are.
    with tempfile.TemporaryDirectory(prefix="echowire-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copies = Files(folder / "server.crt", folder / "server.key")
        shutil.copy(files.certificate, copies.certificate)
        shutil.copy(files.key, copies.key)
        copies.key.chmod(0o600)
        with _serving(protocol, copies, folder) as port:
            yield port


@contextmanager
def _serving(protocol: str, files: Files, folder: Path) -> Iterator[int]:
    begin = {"smtp": _postfix, "imap": _dovecot, "pop3": _dovecot, "ftp": _vsftpd, "postgres": _postgres}[protocol]
    port = free_port()
    command = begin(protocol, files, folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_until_it_listens(process, port, folder / "log")
        yield port
    finally:
        os.kill(_pid_of(process, folder), signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _pid_of(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Who is to be told to end: Postfix's master is a child of the script that was started, in a session of its own."""
    written = folder / "queue" / "pid" / "master.pid"
    return int(written.read_text()) if written.exists() else process.pid


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"it ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pause.wait(POLL_S)
    pytest.fail(f"it did not listen in time: {log.read_text(errors='replace')[-2000:]}")


def _installed(*names: str) -> str:
    for name in names:
        if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
            return found
    pytest.skip(f"not installed: {names[0]}")


def _postfix(protocol: str, files: Files, folder: Path, port: int) -> Sequence[str]:
    command = _installed("postfix")
    for name in ("queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    (folder / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
maillog_file = /dev/stdout
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_chain_files = {files.key} {files.certificate}
"""
    )
    (folder / "master.cf").write_text(
        f"""127.0.0.1:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
"""
    )
    return [command, "-c", str(folder), "start-fg"]


def _dovecot(protocol: str, files: Files, folder: Path, port: int) -> Sequence[str]:
    command = _installed("dovecot")
    other = {"imap": "pop3", "pop3": "imap"}[protocol]
    secure = {"imap": "imaps", "pop3": "pop3s"}[protocol]
    (folder / "dovecot.conf").write_text(
        f"""protocols = {protocol}
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
listen = 127.0.0.1
ssl = yes
ssl_cert = <{files.certificate}
ssl_key = <{files.key}
passdb {{
  driver = static
  args = password=x
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}
}}
service {protocol}-login {{
  inet_listener {protocol} {{
    port = {port}
  }}
  inet_listener {secure} {{
    port = 0
  }}
}}
# {other} is not served
"""
    )
    return [command, "-F", "-c", str(folder / "dovecot.conf")]


def _vsftpd(protocol: str, files: Files, folder: Path, port: int) -> Sequence[str]:
    command = _installed("vsftpd")
    (folder / "empty").mkdir()
    (folder / "vsftpd.conf").write_text(
        f"""listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
anon_root={folder}/empty
secure_chroot_dir={folder}/empty
ssl_enable=YES
allow_anon_ssl=YES
ssl_tlsv1=YES
rsa_cert_file={files.certificate}
rsa_private_key_file={files.key}
xferlog_file={folder}/xferlog
"""
    )
    return [command, str(folder / "vsftpd.conf")]


def _postgres(protocol: str, files: Files, folder: Path, port: int) -> Sequence[str]:
    folders = sorted(str(path) for path in Path("/").glob(POSTGRES_FOLDERS.lstrip("/")))
    initdb = shutil.which("initdb", path=":".join([os.environ["PATH"], *folders]))
    server = shutil.which("postgres", path=":".join([os.environ["PATH"], *folders]))
    if initdb is None or server is None or not Path(initdb).resolve().with_name("postgres").exists():
        pytest.skip("not installed: postgresql")
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("there is no user postgres")
    data = folder / "data"
    data.mkdir()
    for path in (data, files.key):
        os.chown(path, user.pw_uid, user.pw_gid)
    be = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    made = subprocess.run(
        [*be, str(Path(initdb).resolve()), "-D", str(data), "-A", "trust", "-N"], capture_output=True, cwd="/"
    )
    assert made.returncode == 0, made.stderr.decode()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "ssl": "on",
        "ssl_cert_file": files.certificate,
        "ssl_key_file": files.key,
        "unix_socket_directories": "",
        "fsync": "off",
    }
    given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [*be, server, "-D", str(data), *given]
