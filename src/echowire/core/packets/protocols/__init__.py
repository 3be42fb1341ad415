"""One file a protocol: a table of its fields, where it stands, and how the next layer is found. What takes several
files is a folder, whose `protocol.py` has the table.

A file has `PROTOCOLS`, a tuple of `echowire.core.packets.layers.Protocol`; `core/packets/registry.py` finds it there.
Tables of protocols bear Wireshark's names:

    link_type             a capture's LINKTYPE_ number
    ethertype             IEEE 802 numbers: Ethernet, 802.1Q, LLC/SNAP, Linux cooked, GRE, …
    llc.dsap              IEEE 802.2 service access points
    ip.proto              protocol numbers of IPv4 and IPv6
    tcp.port, udp.port    the lower port first, then the higher
"""
