"""Tests of `echowire/engines/load`."""
