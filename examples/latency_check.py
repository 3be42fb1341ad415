"""A check for a pipeline: measure an echo under load, and fail if its 99th percentile is too high.

    python examples/latency_check.py ENDPOINT [CONDITION …]

Conditions are as those of `echowire bench --fail-if`, such as `p99>5ms` or `loss>0`. The exit status is 0, or 1 where
one holds, a byte was wrong, or nothing answered.
"""

from __future__ import annotations

import sys

import echowire


def main() -> int:
    """Measure, print what matters, and say whether it is good enough; the exit status."""
    endpoint, *conditions = sys.argv[1:]
    try:
        report = echowire.bench(endpoint, connections=4, seconds=1, fail_if=conditions or ["p99>5ms"])
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    p50, p99 = (report.latency.percentile(percent) for percent in (50, 99))
    if p50 is not None and p99 is not None:
        shown = [echowire.format_duration(nanoseconds / 1e9) for nanoseconds in (p50, p99)]
        print(f"{report.latency.count} round trips: p50 {shown[0]}, p99 {shown[1]} ({report.limit.why})")
    for condition in report.failed_conditions:
        print(f"failed: {condition}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
