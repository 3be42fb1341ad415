"""One module a kernel interface; with `engines/` the only place that makes system calls on sockets."""
