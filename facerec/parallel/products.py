"""Matrix products that round the same on any number of threads.

How BLAS divides a product among its threads decides how the sums are rounded, and a rank has fewer
threads than a single process. So products are divided here, into blocks of one size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numpy as np
from threadpoolctl import threadpool_limits

from facerec.faces import Floats

_ROWS = 64
"""Rows of a product that one thread computes at a time."""


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread, so that NumPy's own products round the same too."""
    with threadpool_limits(1, "blas"):
        yield


def products(one: Floats, other: Floats) -> Floats:
    """Inner products `(N, M) float32` of the rows of two matrices, on all threads."""
    out = np.empty((len(one), len(other)), np.float32)

    def multiply(start: int) -> None:
        rows = slice(start, start + _ROWS)
        np.matmul(one[rows], other.T, out=out[rows])

    if len(one) <= _ROWS:
        multiply(0)
    else:
        list(_threads(os.getpid()).map(multiply, range(0, len(one), _ROWS)))
    return out


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Of this process: a forked child has none of its parent's threads."""
    import torch

    return ThreadPoolExecutor(torch.get_num_threads(), "product")
