"""Tests of `echowire/core/probing`."""
