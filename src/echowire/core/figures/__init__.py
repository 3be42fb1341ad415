"""Figures of many values: histograms, samples, and criteria that they must meet."""
