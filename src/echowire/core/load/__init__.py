"""What bench sends, whether it came back right, and what the measurement says."""
