"""What the kernel tells of this host: sockets, processes, interfaces, namespaces, events."""
