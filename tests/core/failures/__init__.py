"""Tests of `echowire/core/failures`."""
