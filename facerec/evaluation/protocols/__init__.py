"""Evaluation protocols: lists of pairs, probes and templates, and their images."""
