"""Benchmarks: speed of detection, embedding, search and training beside the machine's own peak."""
