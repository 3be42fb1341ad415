"""Tests of `echowire/core/captures`."""
