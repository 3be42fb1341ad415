"""Tests of `echowire/core/reports/tcp`."""
