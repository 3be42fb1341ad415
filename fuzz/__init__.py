"""Mutation fuzzing of what reads bytes that others made; the tests run a short part of it."""
