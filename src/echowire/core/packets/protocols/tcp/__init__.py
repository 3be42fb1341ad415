"""TCP (RFC 9293) as a table of fields: the header, its options, and the notes of the analysis."""
