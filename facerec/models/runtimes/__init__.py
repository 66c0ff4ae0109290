"""Embedders that another runtime than PyTorch runs."""
