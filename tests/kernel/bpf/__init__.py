"""Tests of `echowire/kernel/bpf`."""
