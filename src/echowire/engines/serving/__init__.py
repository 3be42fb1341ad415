"""Interchangeable ways to serve bound sockets, behind the contract of `base`; `choose` picks one."""
