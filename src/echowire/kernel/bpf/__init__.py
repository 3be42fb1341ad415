"""The bpf(2) system call, and the programs that turn an echo around in the kernel."""
