"""IPv4 (RFC 791): the header, and its options."""
