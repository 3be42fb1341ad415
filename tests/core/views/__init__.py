"""Tests of `echowire/core/views`."""
