"""Figures as TensorBoard scalars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facerec.errors import UsageError


def write_scalars(folder: Path, protocol: str, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write every number of the records, as `PROTOCOL/figure`, one run a model.

    Raises:
        UsageError: the folder cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    for model, record in records.items():
        try:
            writer = SummaryWriter(str(folder / model.replace("/", "_")))
        except OSError as error:
            raise UsageError(f"--tensorboard {folder}: {error.strerror}") from error
        with writer:
            for name, value in _numbers(record):
                writer.add_scalar(f"{protocol}/{name}", value, 0)


def _numbers(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    numbers: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, Mapping):
            numbers += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers.append((f"{prefix}{key}", value))
    return numbers
