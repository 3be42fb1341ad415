"""DNS (RFC 1035): messages, names, the records and their data, EDNS, and a question's answer."""
