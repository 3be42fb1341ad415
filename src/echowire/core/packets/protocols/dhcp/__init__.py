"""DHCP for IPv4 (RFC 2131), with BOOTP, and its options."""
