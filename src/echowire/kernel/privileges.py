"""Root given up once it is not needed: what sudo, doas or pkexec started goes on as the user who called it.

For good: all three ids change, and with them all capabilities go; the bounding set is emptied and no_new_privs set, so
that nothing that is executed from then on gets any back, whatever set-user-ID bit or file capabilities it has
(capabilities(7), PR_SET_NO_NEW_PRIVS in prctl(2)).
"""

from __future__ import annotations

import errno
import os
import pwd
from contextlib import contextmanager, suppress
from itertools import count

from echowire.kernel.boundary import operation

MAX_ID = 2**32 - 2
"""Of users and groups; the next one is -1, by which setresuid(2) leaves an id as it is."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def sudo_user() -> int | None:
    """The user who called sudo, doas or pkexec, in this order; None where nobody did, or root itself."""
    if os.geteuid() != 0:
        return None
    uid = next((uid for uid in (_number("SUDO_UID"), _doas_user(), _number("PKEXEC_UID")) if uid is not None), None)
    return uid or None


@contextmanager
def acting_as(uid: int | None) -> Iterator[None]:
    """Be user `uid`, with this user's groups, for a moment, in which files are opened. None changes nothing.

    Nothing may be imported meanwhile: this program's own files may be out of that user's reach.
    """
    if uid is None:
        yield
        return
    name, gid = _identity(uid)
    groups, root_gid = os.getgroups(), os.getegid()
    with operation("become", f"user {name or uid}"):
        _set_groups(name, gid)
        if gid is not None:
            os.setegid(gid)
        os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(root_gid)
        os.setgroups(groups)


def _identity(uid: int) -> tuple[str, int | None]:
    """The user's name, empty if there is none, and group."""
    gid, name = _number("SUDO_GID"), ""
    with suppress(KeyError):
        entry = pwd.getpwuid(uid)
        name, gid = entry.pw_name, entry.pw_gid if gid is None else gid
    return name, gid


def _set_groups(name: str, gid: int | None) -> None:
    if name and gid is not None:
        os.initgroups(name, gid)
    else:
        os.setgroups([] if gid is None else [gid])


def become(uid: int) -> None:
    """Be user `uid` for good, with this user's groups, and without the means to become root again."""
    name, gid = _identity(uid)
    with operation("become", f"user {name or uid}"):
        _set_groups(name, gid)
        _empty_bounding_set()  # while there is the capability to do so
        if gid is not None:
            os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        _clear_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _number(variable: str) -> int | None:
    """The id that a variable has; None where it is none."""
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) <= MAX_ID else None


def _doas_user() -> int | None:
    with suppress(KeyError):
        return pwd.getpwnam(os.environ["DOAS_USER"]).pw_uid
    return None


def _empty_bounding_set() -> None:
    for capability in count():
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):
                return  # there is no further one; or a container's root may not: no_new_privs does it then
            raise


def _clear_capabilities() -> None:
    """Those that outlive the change of ids: inheritable and ambient ones."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)


def _prctl(option: int, value: int) -> None:
    import ctypes  # which takes its time, and who starts a capture has no need of it yet

    arguments = (ctypes.c_ulong(one) for one in (value, 0, 0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(option, *arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
