"""The device that networks run on."""

from __future__ import annotations

import os

import torch

from facerec.errors import MissingError

_UNKNOWN = "no such device; there are auto, cpu, cuda, cuda:1 and mps"


def onednn_limit() -> str:
    """The instructions that oneDNN is limited to, such as `AVX2`, by the variables that it reads;
    empty: it is not."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")
    return limit.upper()


def choose_device(name: str) -> str:
    """The torch device for a `runtime.device` value; `auto`: CUDA, else Apple's Metal (`mps`), else
    the processor.

    Raises:
        MissingError: the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MissingError(f"runtime.device {name}: {_why_not(name, error)}") from error
    # PyTorch's device of shapes without values.
    if torch.device(name).type == "meta":
        raise MissingError(f"runtime.device {name}: {_UNKNOWN}")
    return name


def _why_not(name: str, error: Exception) -> str:
    """Why a device is not there, in words of our own where PyTorch's speak of its inside."""
    if name.partition(":")[0] == "mps":
        return "there is no Apple GPU that PyTorch can use; try auto or cpu"
    told = str(error).splitlines()[0]
    return (
        _UNKNOWN
        if told.startswith(("Expected one of", "Invalid device"))
        else f"{told}; try auto or cpu"
    )
