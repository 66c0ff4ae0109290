"""A self-contained HTML page about an evaluation."""
