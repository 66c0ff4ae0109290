"""Fuzzing: mutated and hostile files go through the command line and the readers, in process.

`python -m tests.fuzz --cases 2000` is a nightly run; `test_fuzz.py` is CI's share of it, and
replays `regressions/`, the inputs that once broke something.
"""
