"""The processes of one run: alone, or started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from facerec.errors import MissingError
from facerec.opening import choose_device

# In-training evaluation keeps the other processes waiting.
_PATIENCE = timedelta(hours=6)


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the group that torchrun's environment describes, if there is one.

    Args:
        device: `runtime.device`.

    Yields:
        This process's device.

    Raises:
        MissingError: the device is not there.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield torch.device(choose_device(device))
        return
    chosen = torch.device(choose_device(device))
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


def wait() -> None:
    """Until every process is here.

    Raises:
        MissingError: another one has ended.
    """
    if dist.is_initialized():
        try:
            dist.barrier()
        except RuntimeError as error:
            raise MissingError(
                "another process of this run has ended; start the same command again"
            ) from error
