"""Ethernet (IEEE 802.3), and what wraps its frames."""
