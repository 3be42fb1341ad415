"""BPF without the kernel: programs put together from instructions, and the kernel's type information read."""
