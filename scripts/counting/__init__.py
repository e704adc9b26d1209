"""What kernels cost, counted without a GPU; used by ``scripts/count_kernels.py``."""
