"""Find the routers on the way to a host, and how large a packet may be on it.

    python examples/find_path.py HOST

All hops are asked at a time. A router that only limits its answers is not taken for one that loses packets.
"""

from __future__ import annotations

import sys

import echowire


def main() -> int:
    """Find the path and its size, and print both; the exit status."""
    [host] = sys.argv[1:]
    try:
        report = echowire.path(host, count=3, interval_s=0.1)
        for hop, judged in report.judged:
            who = ", ".join(hop.addresses) or "*"
            lost = "limits its answers" if judged.rate_limited else f"{hop.loss or 0:.0%} lost"
            print(f"{hop.number:>2}  {who:<39}  {lost}")
        size = echowire.path_mtu(host)
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if not report.reached:
        print(f"{report.address} did not answer")
    elif size.mtu is not None:
        told = (
            f"as {size.told_by} says" if size.told_by else "and larger ones vanish" if size.black_hole else "all pass"
        )
        print(f"packets of {size.mtu} bytes come through: {told}")
    return report.exit_status


if __name__ == "__main__":
    sys.exit(main())
