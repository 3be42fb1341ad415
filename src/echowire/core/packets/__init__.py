"""Packets as columns of fields: layers, walks, dissection, streams, and the list's text."""
