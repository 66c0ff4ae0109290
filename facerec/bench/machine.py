"""Peak of the machine: matrix multiplication (FLOP/s) and memory bandwidth."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from facerec.bench.timing import seconds_of

_SIDE = 2048
_BYTES = 1 << 28
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@cache
def matmul_peak(precision: str, device: str) -> float:
    """GFLOP/s of a product of two square matrices.

    Args:
        precision: `fp32`, `bf16` or `fp16`.
        device: a torch device.
    """
    generator = torch.Generator(device).manual_seed(0)
    a, b = (
        torch.randn(_SIDE, _SIDE, device=device, generator=generator).to(_DTYPES[precision])
        for _ in range(2)
    )

    def multiply() -> None:
        torch.mm(a, b)
        if device == "mps":
            torch.mps.synchronize()
        elif device != "cpu":
            torch.cuda.synchronize(device)

    return 2 * _SIDE**3 / seconds_of(multiply) / 1e9


@cache
def read_peak() -> float:
    """GB/s read while 256 MB are copied on one core."""
    source = np.ones(_BYTES // 4, np.float32)
    target = np.empty_like(source)
    return _BYTES / seconds_of(lambda: np.copyto(target, source)) / 1e9
