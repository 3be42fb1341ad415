"""What a probe is and what its answer means: ICMP, STAMP, TCP's SYN, statistics of answers, paths."""
