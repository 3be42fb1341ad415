"""Tests of `echowire/engines/serving`."""
