"""How a packet is shown: lines of the list, the tree, JSON, fields, a frame, colours."""
