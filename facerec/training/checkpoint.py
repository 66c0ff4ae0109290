"""Checkpoints that any number of processes can write and any other number go on from.

They are torch.distributed.checkpoint's, in a folder that gets its name when it is whole. That
format unpickles: go on from runs of your own only; a model to give away is `model.safetensors`.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from facerec.errors import MissingError, UsageError
from facerec.parallel.ranks import barrier, rank, world_size
from facerec.training.state import TrainingState

_NAME = re.compile(r"step-(\d+)$")


def save_checkpoint(folder: Path, state: TrainingState, keep: int) -> Path:
    """Write a checkpoint of the state's step; called by every process.

    Args:
        folder: of all checkpoints.
        keep: how many stay, newest first.

    Raises:
        UsageError: it cannot be written.
    """
    final = folder / f"step-{state.step:09d}"
    unfinished = folder / f".unfinished-{state.step:09d}"
    if rank() == 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    barrier()
    tensors, sharded = state.tensors()
    tensors[f"random/{rank()}"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors[f"random-cuda/{rank()}"] = torch.cuda.get_rng_state()
    try:
        with _quiet():
            save(_whole(tensors, sharded, state), checkpoint_id=unfinished)
        if rank() == 0:
            _flush(unfinished)
            shutil.rmtree(final, ignore_errors=True)
            unfinished.rename(final)
            for old in list_checkpoints(folder)[:-keep]:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{final}: cannot be written: {error}") from error
    barrier()
    return final


def load_checkpoint(checkpoint: Path, state: TrainingState) -> None:
    """Bring a state to a checkpoint, whichever number of processes wrote it.

    Raises:
        MissingError: it cannot be read, or was written by another kind of run.
    """
    try:
        stored = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
        known, sharded = state.tensors()
        known[f"random/{rank()}"] = torch.get_rng_state()
        if torch.cuda.is_available():
            known[f"random-cuda/{rank()}"] = torch.cuda.get_rng_state()
        wanted: dict[str, Tensor] = {}
        for key, entry in stored.items():
            if key in known:
                wanted[key] = known[key].clone()
            elif key.startswith("random"):
                continue
            elif isinstance(entry, TensorStorageMetadata):
                wanted[key] = state.template(key, entry.size)
                if key.startswith("sampled/") or (
                    key.startswith("optimizer/head/") and len(entry.size)
                ):
                    sharded.add(key)
        _require_same_kind(known, sharded, stored, state.classifier.classes)
        loaded = _whole(wanted, sharded, state)
        with _quiet():
            load(loaded, checkpoint_id=checkpoint)
        tensors = {
            key: value.to_local() if isinstance(value, DTensor) else value
            for key, value in loaded.items()
        }
        state.restore(tensors)
    except (OSError, RuntimeError, ValueError, KeyError, CheckpointException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingError(f"{checkpoint}: cannot go on from it: {reason}") from error
    if f"random/{rank()}" in tensors:
        torch.set_rng_state(tensors[f"random/{rank()}"])
    if f"random-cuda/{rank()}" in tensors:
        torch.cuda.set_rng_state(tensors[f"random-cuda/{rank()}"])


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.match(path.name)]
    return sorted(found, key=lambda path: path.name)


def _require_same_kind(
    known: Mapping[str, Tensor], sharded: set[str], stored: Mapping[str, Any], classes: int
) -> None:
    modules = ("backbone/", "classifier/", "centres/", "average/")
    mine = {key for key in known if key.startswith(modules)}
    theirs = {key for key in stored if key.startswith(modules)}
    if mine != theirs:
        raise ValueError(f"it is of another network or loss ({min(mine ^ theirs)})")
    for key in sorted(mine):
        here = tuple(known[key].shape)
        if key in sharded:
            here = (classes, *here[1:])
        if here != tuple(stored[key].size):
            raise ValueError(f"{key} is {tuple(stored[key].size)} there and {here} here")


def _whole(
    tensors: Mapping[str, Tensor], sharded: set[str], state: TrainingState
) -> dict[str, Any]:
    """The same with shards as parts of a whole, where there are several processes."""
    if world_size() == 1:
        return dict(tensors)
    device = state.classifier.weight.device.type
    mesh = init_device_mesh(device, (world_size(),))
    classes = state.classifier.classes
    entire: dict[str, Any] = {}
    for key, value in sorted(tensors.items()):
        if key not in sharded:
            entire[key] = value
            continue
        shape = torch.Size((classes, *value.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        entire[key] = DTensor.from_local(
            value.detach(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
        )
    return entire


def _flush(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that a single process needs no process group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
