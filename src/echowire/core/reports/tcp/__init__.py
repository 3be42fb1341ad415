"""One TCP conversation: its record, where its time went, the verdict, the ladder and the pictures."""
