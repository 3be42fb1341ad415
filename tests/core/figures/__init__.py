"""Tests of `echowire/core/figures`."""
