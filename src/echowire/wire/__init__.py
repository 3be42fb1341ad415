"""Formats: bytes to values. Pure: no socket, no file, no clock."""
