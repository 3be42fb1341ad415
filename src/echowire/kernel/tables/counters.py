"""The counters of this thread's network namespace, and those of the last look, which are kept in a file.

The file is one a user and a namespace, in the user's runtime directory ($XDG_RUNTIME_DIR, or /run/user/UID), which is
private and ends with the session as the counters end with the host. Where there is none, one is made for it that is the
user's alone; another's is not taken. A look that cannot be kept is none the worse for it: the next one is then the
first. (nstat has it in /tmp, by a name that anybody can take first.)
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from echowire.core.sockets.counters import parse_lines, parse_pairs
from echowire.kernel.tables import namespaces

NET = "/proc/thread-self/net"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
LARGEST_FILE = 1 << 20
"""Of a look that was kept: some hundred counters are 20 KB."""


def read_counters() -> dict[str, int]:
    """All counters by nstat's names, in the kernel's order, IPv4's before IPv6's; what cannot be read is absent."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        found |= parse_pairs(_lines(name))
    return found | parse_lines(_lines("snmp6"))


def _lines(name: str) -> list[str]:
    try:
        with open(f"{NET}/{name}", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return list(file)
    except OSError:
        return []


def last_look(namespace: int | None) -> tuple[float, dict[str, int]] | None:
    """When the last look at the namespace of that number was, in seconds of the boot's clock, and its counters."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        with _file(namespace).open("rb") as file:
            kept = json.loads(file.read(LARGEST_FILE))
        if kept["boot"] == _boot():
            counters = {str(name): int(value) for name, value in kept["counters"].items()}
            return float(kept["boot_s"]), counters
    return None


def keep_look(namespace: int | None, at_s: float, counters: dict[str, int]) -> bool:
    """Keep a look for the next one to begin from; whether that could be done."""
    try:
        path = _file(namespace)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        found = path.parent.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return False
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"boot": _boot(), "boot_s": at_s, "counters": counters}, file)
        Path(name).replace(path)
    except OSError:
        return False
    return True


def boot_s() -> float:
    """Seconds since this host started, those of its sleep included: no clock that anybody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return Path(BOOT_ID).read_text(encoding="ascii").strip()


def _file(namespace: int | None) -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    base = Path(given) / "echowire"
    if not Path(given).is_dir():
        base = Path(tempfile.gettempdir()) / f"echowire-{os.geteuid()}"
    return base / f"counters-{namespace or namespaces.inode_of() or 0}.json"
