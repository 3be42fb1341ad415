"""Whose a packet is: the kernel's events of sockets joined to the flows of packets."""
