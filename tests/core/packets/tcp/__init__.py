"""Tests of `echowire/core/packets/tcp`."""
