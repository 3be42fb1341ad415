"""The numbers of captures that are needed before any packet is: to open a ring, to compile a filter.

They stand apart because whoever opens a ring does so before numpy is loaded, which all that has columns begins with.
"""

from __future__ import annotations

MAX_PACKET_BYTES = 262_144
"""The longest packet taken: tshark's limit (WTAP_MAX_PACKET_SIZE_STANDARD) and tcpdump's largest snapshot length."""

MAX_NOTE_BYTES = 160
"""What a packet's options beside its flags may take. The ring has so much more room between packets where they are
wanted."""

LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL2 = 1, 276

SLL2_BYTES = 20
"""The header of LINKTYPE_LINUX_SLL2, which is put before "cooked" packets."""
