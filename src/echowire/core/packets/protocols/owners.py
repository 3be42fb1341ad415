"""Protocols that are known by their port alone: what they say is not looked into, but it is not taken for another's.

What stands on such a port is theirs, as people who read Wireshark's output expect, though it may look like HTTP; only
TLS, which some of them turn to in mid-conversation, is seen as what it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echowire.core.packets.layers import Layer, Protocol


def _is_not_tls(layer: Layer) -> NDArray[np.bool_]:
    """Whether no record of TLS begins here."""
    kind, major = layer.uint(0, 1), layer.uint(1, 1)
    found: NDArray[np.bool_] = ~(layer.has(5) & (kind >= 20) & (kind <= 24) & (major == 3))
    return found


PROTOCOLS = (Protocol("pgsql", "PostgreSQL", "PGSQL", keys=(("tcp.port", 5432),), accepts=_is_not_tls),)
