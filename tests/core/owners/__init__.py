"""Tests of `echowire/core/owners`."""
