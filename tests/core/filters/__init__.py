"""Tests of `echowire/core/filters`."""
