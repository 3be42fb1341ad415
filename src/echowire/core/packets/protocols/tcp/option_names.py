"""What the numbers in TCP's options mean."""

KINDS = {
    0: "End of Option List",
    1: "No-Operation",
    2: "Maximum Segment Size",
    3: "Window Scale",
    4: "SACK Permitted",
    5: "SACK",
    6: "Echo",
    7: "Echo Reply",
    8: "Time Stamp Option",
    9: "Partial Order Connection Permitted",
    10: "Partial Order Service Profile",
    11: "CC",
    12: "CC.NEW",
    13: "CC.ECHO",
    14: "TCP Alternate Checksum Request",
    15: "TCP Alternate Checksum Data",
    16: "Skeeter",
    17: "Bubba",
    18: "Trailer Checksum Option",
    19: "MD5 Signature Option",
    20: "SCPS Capabilities",
    21: "Selective Negative Acknowledgements",
    22: "Record Boundaries",
    23: "Corruption experienced",
    24: "SNAP",
    25: "Unassigned",
    26: "TCP Compression Filter",
    27: "Quick-Start Response",
    28: "User Timeout Option",
    29: "The TCP Authentication Option",
    30: "Multipath TCP",
    34: "TCP Fast Open Cookie",
    76: "Riverbed Probe",
    78: "Riverbed Transparency",
    172: "Accurate ECN Order 0",
    174: "Accurate ECN Order 1",
    253: "RFC3692-style Experiment 1",
    254: "RFC3692-style Experiment 2",
}

EXPERIMENTS = {
    0x00AC: "TCP ACK Rate Request",
    0x0348: "Host ID",
    0x0A0D: "Autonomous System Compensation",
    0x0CA0: "Capability Option",
    0x0ED0: "Extended Data Offset",
    0x454E: "Encryption Negotiation",
    0x5323: "Service Number",
    0x75EC: "Timestamp Interval",
    0xACC0: "Accurate ECN - Order 0",
    0xACC1: "Accurate ECN - Order 1",
    0xACCE: "Accurate ECN",
    0xE2D4: "Shared Memory communications over RMDA protocol",
    0xF989: "Fast Open",
    0xF990: "Low Latency",
}
"""IANA's TCP Experimental Option Experiment Identifiers, as far as Wireshark names them."""

FAST_OPEN = 0xF989

RATES = {0: "0 bit/s"} | {
    rate: f"{kbits:.10g} Kbit/s" if kbits < 1000 else f"{kbits / 1000:.10g} Mbit/s" if kbits < 1e6 else "1.31072 Gbit/s"
    for rate, kbits in ((rate, 40 << rate) for rate in range(1, 16))
}
"""Quick-Start's rates (RFC 4782, section 3.1)."""

COUNTERS = {"ee0b": "ECT(0)", "eceb": "CE", "ee1b": "ECT(1)"}
"""Of accurate ECN, in the order of its first kind; the second has them the other way round."""

ORDER_1 = 174
