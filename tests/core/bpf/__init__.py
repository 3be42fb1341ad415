"""Tests of `echowire/core/bpf`."""
