"""Tests of `echowire/core`."""
