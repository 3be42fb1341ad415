"""Tests of `echowire/engines/probing`."""
