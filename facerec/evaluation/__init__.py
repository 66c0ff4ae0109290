"""Evaluation: verification (ROC, TAR at FAR), identification, IJB templates, detection, thresholds.

A pair is accepted when its similarity is at or above the threshold, as in recognition.
"""
