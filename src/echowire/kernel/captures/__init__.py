"""Packets from the kernel and from files, and files of packets."""
