"""The display filter whole: its text parsed and checked, and decided on columns of packets."""
