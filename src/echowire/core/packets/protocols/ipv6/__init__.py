"""IPv6 (RFC 8200): the header, and its extension headers."""
