"""Root given up once it is not needed: what sudo started goes on as the user who called it."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress

from echowire.kernel.boundary import operation


def sudo_user() -> int | None:
    """The user who called sudo; None where nobody did, or root itself."""
    if os.geteuid() != 0:
        return None
    uid = os.environ.get("SUDO_UID", "")
    return int(uid) if uid.isdigit() and int(uid) else None


def become(uid: int) -> None:
    """Be user `uid` for good, with this user's groups: all three ids change, and with them all capabilities go."""
    gid = int(os.environ.get("SUDO_GID", "") or -1)
    name = ""
    with suppress(KeyError):
        entry = pwd.getpwuid(uid)
        name, gid = entry.pw_name, entry.pw_gid if gid < 0 else gid
    with operation("become", f"user {name or uid}"):
        if name:
            os.initgroups(name, gid)
        else:
            os.setgroups([gid] if gid >= 0 else [])
        if gid >= 0:
            os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
