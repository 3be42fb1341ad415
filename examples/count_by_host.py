"""Who sent how much in a capture: packets and bytes by source address, the largest first.

    python examples/count_by_host.py CAPTURE [DISPLAY FILTER]

The file is read chunk by chunk, so that one of any length takes the same memory.
"""

from __future__ import annotations

import sys

import polars as pl

import echowire


def main() -> int:
    """Read, add up and print; the exit status."""
    path, *filters = sys.argv[1:]
    try:
        capture = echowire.read(path)
        for text in filters:
            capture = capture.filter(text)
        parts = [
            chunk.select(pl.coalesce("ip.src", "ipv6.src").alias("host"), "frame.len")
            for chunk in capture.frames("ip.src", "ipv6.src", "frame.len")
        ]
    except echowire.EchowireError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    hosts = pl.concat(parts).group_by("host").agg(packets=pl.len(), bytes=pl.col("frame.len").sum())
    for host, packets, size in hosts.drop_nulls().sort("bytes", "host", descending=[True, False]).iter_rows():
        print(f"{host:<39}  {packets:>9} packets  {echowire.format_size(size):>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
