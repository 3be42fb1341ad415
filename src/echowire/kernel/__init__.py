"""The system's interfaces, as functions of Python, and what is made of a few of them together: a connection to a name
(`connections/connect.py`), a relay between two descriptors (`connections/relay.py`). Besides it `engines/` alone makes
system calls on sockets."""
