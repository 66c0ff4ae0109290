"""Weights: catalogue, downloads, the model store, other projects' layouts."""
