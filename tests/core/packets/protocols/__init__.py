"""Tests of `echowire/core/packets/protocols`."""
