"""Tests of `echowire/kernel/tables`."""
