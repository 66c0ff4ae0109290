"""Nearest people among many vectors: exact and approximate (IVF)."""
