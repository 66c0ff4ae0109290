"""Alignment: similarity warp of five landmarks to a template."""
