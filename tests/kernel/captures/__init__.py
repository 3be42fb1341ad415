"""Tests of `echowire/kernel/captures`."""
