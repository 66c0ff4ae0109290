"""Figures for a model: verification, identification, templates, and calibrated thresholds.

A pair is accepted when its similarity is at or above the threshold, here as everywhere else.
"""
