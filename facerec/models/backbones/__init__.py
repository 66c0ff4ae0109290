"""Trainable networks, `(N, 3, H, W) float32` to `(N, D) float32`, not yet unit length.

Parameter names are those of the published weights, so that these load by name. Every family has
a `test_…` member, small enough that a test can train it.
"""
