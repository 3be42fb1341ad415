"""Tests of `echowire/core/load`."""
