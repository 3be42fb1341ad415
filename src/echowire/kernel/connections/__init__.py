"""Sockets: opened, connected, accepted, their options, errors and time stamps, TLS over them."""
