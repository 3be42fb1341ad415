"""TLS (RFC 8446): records, the handshake, its names and numbers, and fingerprints."""
