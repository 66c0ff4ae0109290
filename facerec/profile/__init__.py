"""Profiles: their schema, and loading them in layers."""
