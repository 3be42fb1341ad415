"""Tests of `echowire/core/packets`."""
