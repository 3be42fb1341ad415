"""Tests of `echowire/kernel/connections`."""
