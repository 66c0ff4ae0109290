"""Threads, worker processes, cores and torch.distributed ranks."""
