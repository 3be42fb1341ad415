"""What is pure: bytes to values, values to reports, errors to words. No socket, no file, no clock."""
