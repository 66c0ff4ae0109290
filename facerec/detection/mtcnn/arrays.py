"""Arithmetic that runs on NumPy's arrays on a processor and on PyTorch's on a GPU.

On a processor the detector's many steps on few boxes take NumPy half of PyTorch's time, and
NumPy, unlike PyTorch, does not let go of the interpreter for a step of microseconds: two threads
that hand it to and fro at each step are slower than one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[Any], Tensor)


def namespace(array: NDArray[Any] | Tensor) -> Any:
    """The module whose functions take the array: those used here have one name in both."""
    return np if isinstance(array, np.ndarray) else torch


def alike(values: NDArray[Any], other: Array) -> Array:
    """The values as an array of the other's kind and on its device."""
    if isinstance(other, np.ndarray):
        return values
    return torch.from_numpy(values).to(other.device)


def tensor_of(array: NDArray[Any] | Tensor) -> Tensor:
    """The array as PyTorch's, in the same memory."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def numpy_of(array: NDArray[Any] | Tensor) -> NDArray[Any]:
    """The array as NumPy's; from a GPU it is copied."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def on_host(tensor: Tensor) -> Any:
    """What a step of PyTorch gave, as NumPy's array unless it lies on a GPU."""
    return tensor if tensor.is_cuda else tensor.numpy()
