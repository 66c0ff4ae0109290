"""Checkpoints: written by any number of ranks, resumed and re-sharded by any other.

The format is torch.distributed.checkpoint's. Its folder is renamed to `step-N` once it is complete.
The format unpickles: resume only from your own runs; share `model.safetensors` instead.
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.optim import Optimizer

from facerec.errors import MissingError, UsageError
from facerec.files.parsing import brief
from facerec.parallel.ranks import barrier, rank, world_size
from facerec.training.losses.centres import CentreLoss
from facerec.training.network import Head
from facerec.training.run_folder import CHECKPOINTS

Tensors = dict[str, Tensor]
_NAME = re.compile(r"step-(\d+)$")
# What reading a damaged or foreign checkpoint raises; torch's own is no `Exception`.
_UNREADABLE = (
    OSError, RuntimeError, ValueError, LookupError, EOFError, PickleError, CheckpointException,
)  # fmt: skip
_FULL = 1 << 20
"""With fewer bytes free, a disk is full."""


class TrainingState:
    """Everything a step changes, and its flat view as named tensors.

    Rows of the classifier, of Center loss and of their optimiser state are this rank's shard; the
    rest is replicated.

    Args:
        backbone: the module itself, without DistributedDataParallel.
        classifier: the head.
        centres: of Center loss.
        projection: from the student's vectors to its teacher's.
        optimizers: by name; `head` steps the classifier.
        scaler: gradient scaler for fp16.
        average: exponential moving average of the backbone.

    Attributes:
        step: steps done.
        skipped: batches passed over after roll-backs.
    """

    def __init__(
        self, backbone: nn.Module, classifier: Head, centres: CentreLoss | None,
        projection: nn.Module | None, optimizers: Mapping[str, Optimizer],
        scaler: torch.amp.GradScaler, average: nn.Module | None,
    ) -> None:  # fmt: skip
        self.backbone, self.classifier, self.centres = backbone, classifier, centres
        self.projection = projection
        self.optimizers = dict(optimizers)
        self.scaler = scaler
        self.average = average
        self.step = 0
        self.skipped = 0

    def tensors(self) -> tuple[Tensors, set[str]]:
        """All tensors by name, and the names of those sharded by rows."""
        found: Tensors = {}
        for name, module in self._modules():
            found |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        sharded = {
            key
            for key in found
            if key in ("classifier/weight", "classifier/bias", "centres/weight")
        }
        for name, optimizer in self.optimizers.items():
            for index, parameter in enumerate(_parameters(optimizer)):
                for key, value in optimizer.state[parameter].items():
                    if not isinstance(value, Tensor):
                        continue
                    entry = f"optimizer/{name}/{index}/{key}"
                    if name == "head" and value.shape == parameter.shape:
                        if self._is_sample(parameter):
                            continue
                        sharded.add(entry)
                    found[entry] = value
        if self.classifier.sampled is not None:
            for key, value in self.classifier.sampled.states.items():
                found[f"sampled/{key}"] = value
                sharded.add(f"sampled/{key}")
        if self.scaler.is_enabled():
            scale = self.scaler.state_dict()
            found["scaler/scale"] = torch.tensor(scale["scale"], dtype=torch.float64)
            found["scaler/growth"] = torch.tensor(scale["_growth_tracker"])
        found["progress"] = torch.tensor([self.step, self.skipped])
        return found, sharded

    @torch.no_grad()
    def is_finite(self) -> bool:
        """Whether all that this rank would save is finite."""
        return all(map(_is_finite, self.tensors()[0].values()))

    def has_parameter(self, key: str) -> bool:
        """Whether an entry is of no optimiser, or of a parameter that its optimiser still steps."""
        if not key.startswith("optimizer/"):
            return True
        _, name, index, _ = key.split("/")
        return int(index) < len(_parameters(self.optimizers[name]))

    def template(self, key: str, size: torch.Size) -> Tensor:
        """A zero tensor to load an entry into that this state lacks before its first step."""
        if key.startswith("sampled/"):
            return torch.zeros_like(self.classifier.weight)
        if key.startswith("optimizer/"):
            _, name, index, _ = key.split("/")
            parameter = _parameters(self.optimizers[name])[int(index)]
            if len(size):
                return torch.zeros_like(parameter)
        return torch.zeros(size)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set everything from tensors with the names that `tensors` gives."""
        for name, module in self._modules():
            prefix = f"{name}/"
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for optimizer in self.optimizers.values():
            optimizer.state.clear()
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, name, index, inner = key.split("/")
                optimizer = self.optimizers[name]
                optimizer.state[_parameters(optimizer)[int(index)]][inner] = value
            elif key.startswith("sampled/") and self.classifier.sampled is not None:
                self.classifier.sampled.states[key.removeprefix("sampled/")] = value
        if "scaler/scale" in tensors and self.scaler.is_enabled():
            state = self.scaler.state_dict()
            state["scale"] = float(tensors["scaler/scale"])
            state["_growth_tracker"] = int(tensors["scaler/growth"])
            self.scaler.load_state_dict(state)
        self.step, self.skipped = (int(value) for value in tensors["progress"])

    def _modules(self) -> Iterator[tuple[str, nn.Module]]:
        yield "backbone", self.backbone
        yield "classifier", self.classifier
        if self.centres is not None:
            yield "centres", self.centres
        if self.projection is not None:
            yield "projection", self.projection
        if self.average is not None:
            yield "average", self.average

    def _is_sample(self, parameter: Tensor) -> bool:
        sampled = self.classifier.sampled
        return sampled is not None and parameter is sampled.active


def save_checkpoint(folder: Path, state: TrainingState, keep: int) -> Path:
    """Write a checkpoint of the state's step, atomically; a collective.

    Args:
        folder: of all checkpoints.
        keep: older ones beyond this many are deleted.

    Raises:
        UsageError: it cannot be written.
    """
    final = folder / f"step-{state.step:09d}"
    partial = folder / f".unfinished-{state.step:09d}"
    try:
        _write_and_rename(partial, final, state)
    except (OSError, RuntimeError, CheckpointException) as error:
        reason = _why_unwritable(error, folder)
        if rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(f"{final}: cannot be written: {reason}") from error
    if rank() == 0:
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    barrier()
    return final


def _write_and_rename(partial: Path, final: Path, state: TrainingState) -> None:
    if rank() == 0:
        # Also a killed run's, of another step.
        for left in final.parent.glob(".unfinished-*"):
            shutil.rmtree(left, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
    barrier()
    tensors, sharded = state.tensors()
    tensors[f"random/{rank()}"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors[f"random-cuda/{rank()}"] = torch.cuda.get_rng_state()
    with _without_warnings():
        save(_as_distributed(tensors, sharded, state), checkpoint_id=partial)
    if rank() == 0:
        _flush(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)


def _why_unwritable(error: BaseException, folder: Path) -> str:
    """As `_why`; on a full disk, that it is full.

    Args:
        folder: that was written to, with all that was written still there.
    """
    reason = _why(error)
    # torch closes its file after the write that failed, which then fails for a reason of its own.
    with suppress(OSError):
        if shutil.disk_usage(folder).free < _FULL:
            return os.strerror(errno.ENOSPC)
    return reason


def _why(error: BaseException) -> str:
    """Why a checkpoint cannot be written or read, in one line: what the system said, if it did.

    Raises:
        KeyboardInterrupt: Ctrl-C, which torch gathers from the ranks as any failure.
    """
    if isinstance(error, CheckpointException) and error.failures:
        error = error.failures[min(error.failures)][0]
    led_to_it: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        led_to_it.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in reversed(led_to_it):
        if isinstance(cause, OSError) and cause.strerror:
            place = f": {cause.filename}" if cause.filename else ""
            return f"{cause.strerror}{place}"
    return brief(error)


def load_checkpoint(checkpoint: Path, state: TrainingState) -> None:
    """Set a state from a checkpoint written by any number of ranks; a collective.

    Raises:
        MissingError: it cannot be read, or is of another network or loss.
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
            elif isinstance(entry, TensorStorageMetadata) and state.has_parameter(key):
                wanted[key] = state.template(key, entry.size)
                if key.startswith("sampled/") or (
                    key.startswith("optimizer/head/") and len(entry.size)
                ):
                    sharded.add(key)
        _require_same_modules(known, sharded, stored, state.classifier.classes)
        loaded = _as_distributed(wanted, sharded, state)
        with _without_warnings():
            load(loaded, checkpoint_id=checkpoint)
        tensors = {
            key: value.to_local() if isinstance(value, DTensor) else value
            for key, value in loaded.items()
        }
        state.restore(tensors)
    except _UNREADABLE as error:
        raise MissingError(f"{checkpoint}: cannot go on from it: {_why(error)}") from error
    if f"random/{rank()}" in tensors:
        torch.set_rng_state(tensors[f"random/{rank()}"])
    if f"random-cuda/{rank()}" in tensors:
        torch.cuda.set_rng_state(tensors[f"random-cuda/{rank()}"])


def read_tensors(checkpoint: Path, prefix: str) -> Tensors:
    """Whole tensors of a checkpoint, by any number of ranks, whose names begin with a prefix.

    Args:
        prefix: taken off the names.

    Raises:
        MissingError: it cannot be read.
    """
    try:
        stored = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
        tensors: dict[str, Any] = {
            key: torch.zeros(entry.size, dtype=entry.properties.dtype)
            for key, entry in stored.items()
            if key.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
        }
        with _without_warnings():
            load(tensors, checkpoint_id=checkpoint, no_dist=True)
    except _UNREADABLE as error:
        raise MissingError(f"{checkpoint}: not a checkpoint: {_why(error)}") from error
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def newest_checkpoint(place: Path) -> Path:
    """The newest checkpoint of a run's folder, or the place itself where it is one.

    Raises:
        MissingError: there is none.
    """
    if _NAME.match(place.name):
        return place
    found = list_checkpoints(place / CHECKPOINTS)
    if not found:
        raise MissingError(f"{place}: holds no checkpoint of a run")
    return found[-1]


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [path for path in folder.glob("step-*") if _NAME.match(path.name)]
    return sorted(found, key=lambda path: path.name)


def _require_same_modules(
    known: Mapping[str, Tensor], sharded: set[str], stored: Mapping[str, Any], classes: int
) -> None:
    modules = ("backbone/", "classifier/", "centres/", "projection/", "average/")
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


def _as_distributed(
    tensors: Mapping[str, Tensor], sharded: set[str], state: TrainingState
) -> dict[str, Any]:
    """The tensors, with shards as DTensors when there are several ranks."""
    if world_size() == 1:
        return dict(tensors)
    device = state.classifier.weight.device.type
    mesh = init_device_mesh(device, (world_size(),))
    classes = state.classifier.classes
    distributed: dict[str, Any] = {}
    for key, value in sorted(tensors.items()):
        if key not in sharded:
            distributed[key] = value
            continue
        shape = torch.Size((classes, *value.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        distributed[key] = DTensor.from_local(
            value.detach(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
        )
    return distributed


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        # Windows flushes only what is open for writing.
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    # Windows opens no folder.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide torch's warning that there is no process group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_finite(tensor: Tensor) -> bool:
    # Each is NaN where one value is; a mask of a large classifier might not fit beside it.
    extremes = (tensor.min(), tensor.max()) if tensor.numel() else ()
    return all(math.isfinite(extreme) for extreme in extremes)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
