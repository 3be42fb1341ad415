"""Put the same load on two servers, and print what differs: here two engines, or any two endpoints that echo.

    python examples/compare_servers.py [BEFORE AFTER]

A ratio says little where the client was the limit: then the figures are of the client, and it is said.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import echowire


def main() -> int:
    """Measure one, then the other against it; the exit status is 1 if either had errors."""
    with ExitStack() as servers:
        endpoints: list[str] = sys.argv[1:3]
        if not endpoints:
            for engine in ("threads", "readiness"):
                server = servers.enter_context(echowire.serve("tcp://127.0.0.1:0", engine=engine))
                endpoints.append(server.endpoint.url)
        before = echowire.bench(endpoints[0], connections=8, seconds=1)
        after = echowire.bench(endpoints[1], connections=8, seconds=1, against=before.document())
    comparison = after.compare()
    for row in comparison.rows if comparison else ():
        if row.before is not None and row.after is not None:
            ratio = "" if row.ratio is None else f"  x {row.ratio:.2f}"
            print(f"{row.name:<24} {row.before:>14,.1f} {row.after:>14,.1f}{ratio}")
    for report in (before, after):
        print(f"{report.endpoint}: {report.limit.why}")
    return 0 if before.ok and after.ok else 1


if __name__ == "__main__":
    sys.exit(main())
