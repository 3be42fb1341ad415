"""QUIC (RFC 9000): packets, their keys, and the frames in them."""
