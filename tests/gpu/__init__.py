"""What needs a GPU: `python -m tests.gpu`, under ten minutes; skipped where there is none."""
