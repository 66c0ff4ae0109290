"""Choosing the device that networks run on."""

from __future__ import annotations

import torch

from facerec.errors import MissingError


def choose_device(name: str) -> str:
    """The torch device for a `runtime.device` value.

    Raises:
        MissingError: the device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise MissingError(
            f"runtime.device {name}: {str(error).splitlines()[0]}; try auto or cpu"
        ) from error
    return name
