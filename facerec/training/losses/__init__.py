"""Losses: margins on the true class's cosine, the sharded classifier, Center loss."""
