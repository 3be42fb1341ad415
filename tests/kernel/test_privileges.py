"""Root given up: who is the caller, and that nothing is left by which to become root again."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from echowire.kernel.privileges import acting_as, become, sudo_user
from tests.peers import needs_root
from tests.processes import NOBODY

VARIABLES = ("SUDO_UID", "SUDO_GID", "DOAS_USER", "PKEXEC_UID")

pytestmark = needs_root


def in_a_child(act: Callable[[], str]) -> str:
    """What `act` returns in a child of this process, which may give up what it likes."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            os.write(writer, act().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def status() -> dict[str, str]:
    """/proc/self/status by name (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def after_becoming_nobody() -> dict[str, str]:
    def act() -> str:
        become(NOBODY)
        return "\n".join(f"{name}:{value}" for name, value in status().items())

    text = in_a_child(act)
    return dict(line.split(":", 1) for line in text.splitlines())


@pytest.fixture(autouse=True)
def nobody_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_no_capability_is_left_nor_can_one_be_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_GID", str(NOBODY))
    found = after_becoming_nobody()
    assert found["Uid"].split() == found["Gid"].split() == [str(NOBODY)] * 4
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"


def test_for_a_moment_a_user_has_no_other_rights() -> None:
    """A file of root's cannot be opened meanwhile, and can be again after that."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret")
        secret.write_text("root's")
        secret.chmod(0o600)

        def act() -> str:
            before = os.geteuid(), os.getegid(), os.getgroups()
            with acting_as(NOBODY):
                try:
                    os.open(secret, os.O_WRONLY)
                except PermissionError:
                    refused = "refused"
            assert (os.geteuid(), os.getegid(), os.getgroups()) == before
            return refused + secret.read_text()

        assert in_a_child(act) == "refusedroot's"


def test_a_set_user_id_program_gives_nothing_back() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which only its owner may enter
        Path(folder).chmod(0o755)
        program = Path(folder, "id")
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o4755)

        def act() -> str:
            become(NOBODY)
            return subprocess.check_output([str(program), "-u"], text=True)

        assert in_a_child(act).strip() == str(NOBODY)


@pytest.mark.parametrize("gid", ["abc", "", "-1", "99999999999", "4294967295", "٣"])
def test_a_group_that_is_none_is_the_users_own(monkeypatch: pytest.MonkeyPatch, gid: str) -> None:
    monkeypatch.setenv("SUDO_GID", gid)
    assert after_becoming_nobody()["Gid"].split() == [str(pwd.getpwuid(NOBODY).pw_gid)] * 4


@pytest.mark.parametrize(
    ("variables", "uid"),
    [
        ({}, None),
        ({"SUDO_UID": "1234"}, 1234),
        ({"SUDO_UID": "0"}, None),
        ({"SUDO_UID": "abc"}, None),
        ({"SUDO_UID": "4294967295"}, None),
        ({"SUDO_UID": "99999999999"}, None),
        ({"DOAS_USER": "nobody"}, NOBODY),
        ({"DOAS_USER": "root"}, None),
        ({"DOAS_USER": "no such user"}, None),
        ({"PKEXEC_UID": "1234"}, 1234),
        ({"SUDO_UID": "0", "PKEXEC_UID": "1234"}, None),
        ({"SUDO_UID": "77", "DOAS_USER": "nobody"}, 77),
    ],
)
def test_who_called(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], uid: int | None) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sudo_user() == uid


def test_a_user_is_none_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")

    def act() -> str:
        become(NOBODY)
        return str(sudo_user())

    assert in_a_child(act) == "None"


def test_a_user_without_a_name_has_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = next(uid for uid in range(54_321, 60_000) if not _is_known(uid))
    monkeypatch.setenv("SUDO_GID", "54321")

    def act() -> str:
        become(unknown)
        return f"{status()['Groups']}|{status()['Uid']}"

    assert re.fullmatch(rf"54321\|{unknown}\s.*", in_a_child(act))


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
