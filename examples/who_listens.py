"""Who listens on this host, and which of it can be reached from other machines.

    python examples/who_listens.py

What other users' processes hold is seen by root alone; a `?` stands for them.
"""

from __future__ import annotations

import ipaddress

import echowire


def is_exposed(address: str) -> bool:
    """Whether a socket bound to this address can be reached from another machine."""
    return not ipaddress.ip_address(address.partition("%")[0]).is_loopback


def main() -> None:
    """Print a line each listener, those that can be reached first."""
    table = echowire.sockets("state listening", kinds=["tcp", "mptcp"], with_processes=True)
    for row in sorted(table, key=lambda row: (not is_exposed(row.local_address), row.local_port)):
        holders = ", ".join(sorted({holder["name"] for holder in row.processes or ()})) or "?"
        reach = "exposed " if is_exposed(row.local_address) else "loopback"
        print(f"{reach}  {row.local_port:>5}  {row.local_address:<24}  {holders}")
    for note in table.notes:
        print(f"({note})")


if __name__ == "__main__":
    main()
