"""Galleries in HDF5 files."""
