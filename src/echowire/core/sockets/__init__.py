"""The socket table: sock_diag's messages as columns, ss's filter, the lines, and what is wrong with a socket."""
