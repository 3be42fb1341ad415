"""Tests of `echowire/core/sockets`."""
