"""HTTP/1 (RFC 9112): messages, and the fields of their heads."""
