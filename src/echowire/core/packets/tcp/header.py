"""What the TCP header's numbers are (RFC 9293, section 3.1): its flags, its least length, and how its sequence numbers
are compared.
"""

from __future__ import annotations

MIN_HEADER_BYTES = 20

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

WORD = 0xFFFFFFFF
"""Numbers of 32 bits wrap."""

HALF = 1 << 31
"""They are compared modulo 2^32 (section 3.4): one is before another if it is less than half the circle behind, so b is
after a if (a - b) mod 2^32 >= 2^31."""
