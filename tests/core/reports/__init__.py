"""Tests of `echowire/core/reports`."""
