"""Ways to probe a target and to match what comes back: ICMP echo, UDP echo, TCP connect, STAMP."""
