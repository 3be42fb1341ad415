"""What passes, for `echowire serve --show`, as lines: when, with whom, which way, and the bytes as text or as hex."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from echowire import Passed, printable

ROW_BYTES = 16
"""Of a line of hex, as xxd and tcpdump -X have it."""

ARROWS = {"received": ">", "sent": "<"}
"""As socat -v has them: from the peer, and to it."""


def shown(passed: Passed, form: Literal["text", "hex"]) -> Iterator[str]:
    """The lines that tell of it."""
    seconds, nanoseconds = divmod(passed.time_ns, 1_000_000_000)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{nanoseconds // 1000:06}"
    kind = "" if passed.endpoint.is_stream else "datagram of "
    size = "1 byte" if len(passed.data) == 1 else f"{len(passed.data)} bytes"
    peer = printable(passed.peer) or "unnamed"
    head = f"{clock} {peer} {ARROWS[passed.direction]} {kind}{size}"
    if form == "text":
        lines = passed.data.decode("utf-8", "backslashreplace").splitlines(keepends=True)
        yield f"{head}:" if lines else head
        yield from (f"  {printable(line)}" for line in lines)
        return
    yield head
    for start in range(0, len(passed.data), ROW_BYTES):
        row = passed.data[start : start + ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:08x}  {row.hex(' '):{3 * ROW_BYTES - 1}}  {text}"
