"""Evaluation sets: what each protocol compares with what, and where its images are."""
