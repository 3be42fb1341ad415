"""The rules by which a failed call is explained, grouped by what was attempted."""
