"""Figures as TensorBoard scalars."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from facerec.errors import UsageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_WITHOUT_TENSORFLOW = "tensorboard.compat.notf"


def open_writer(folder: Path) -> SummaryWriter:
    """A writer of TensorBoard's files.

    A thread of its writes them; what it cannot write, the next call raises as OSError.

    TensorBoard would import TensorFlow where it is installed, which takes seconds, writes to
    stderr, and crashes torchvision when that comes later; this stub module prevents that.
    """
    sys.modules.setdefault(_WITHOUT_TENSORFLOW, ModuleType(_WITHOUT_TENSORFLOW))
    from torch.utils.tensorboard import SummaryWriter

    _hide_tracebacks_of_writers()
    return SummaryWriter(str(folder))


def write_scalars(folder: Path, protocol: str, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write every number of the records, as `PROTOCOL/figure`, one run per model.

    Raises:
        UsageError: the folder cannot be written.
    """
    for model, record in records.items():
        try:
            with open_writer(folder / model.replace("/", "_")) as writer:
                for name, value in numbers_of(record):
                    writer.add_scalar(f"{protocol}/{name}", value, 0)
        except OSError as error:
            raise UsageError(f"--tensorboard {folder}: {error.strerror}") from error


@cache
def _hide_tracebacks_of_writers() -> None:
    show = threading.excepthook

    def show_others(failed: threading.ExceptHookArgs) -> None:
        if not type(failed.thread).__module__.startswith("tensorboard."):
            show(failed)

    threading.excepthook = show_others


def numbers_of(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Every number in a record with its path, `outer/inner`."""
    numbers: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, Mapping):
            numbers += numbers_of(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers.append((f"{prefix}{key}", value))
    return numbers
