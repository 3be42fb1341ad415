"""Ping a list of hosts at once, and report who is up, how far, and who says no.

    python examples/ping_hosts.py HOST … [- < hosts.txt]

A host is a name, an address or a range such as 10.0.0.0/28; `-` reads more of them from standard input.
"""

from __future__ import annotations

import sys

import echowire


def main() -> int:
    """Ping, and print a line each host, those that are not well first; exit status 1 if there is one."""
    hosts = [host for host in sys.argv[1:] if host != "-"]
    hosts += sys.stdin.read().split() if "-" in sys.argv else []
    try:
        report = echowire.ping(*hosts, count=3, interval_s=0.2)
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    for target in sorted(report.targets, key=lambda target: (target.is_up, target.name)):
        if target.is_up:
            median = target.round_trips.percentile(50)
            away = echowire.format_duration((median or 0) / 1e9)
            print(f"up    {target.name}  {target.address}  {away} away, {target.loss or 0:.0%} lost")
        else:
            print(f"DOWN  {target.name}  {target.problem or 'no reply'}")
    return 0 if all(target.is_up for target in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
