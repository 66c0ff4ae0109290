"""Results, missing images and exit code of each model in `facerec evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facerec.cli.console import exit_with_failures, say
from facerec.cli.evaluation.options import Run
from facerec.errors import FacerecError
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.evaluation.discard import DiscardCurve
    from facerec.evaluation.embedding import Embedded
    from facerec.evaluation.groups import GroupTable
    from facerec.evaluation.reliability import Reliability
    from facerec.evaluation.run import Setting
    from facerec.evaluation.verification import Verification


_MAX_REPORTED = 10


@dataclass(frozen=True)
class Measured:
    """One model's outcome on pairs."""

    name: str
    card: ModelCard
    embedded: Embedded
    result: Verification
    record: dict[str, Any]
    groups: GroupTable | None
    people: tuple[str, ...] | None
    discard: DiscardCurve | None = None
    reliability: Reliability | None = None


def model_names(settings: Sequence[Setting]) -> list[str]:
    chosen = [[one.only_name for one in setting.profile.model.members()] for setting in settings]
    names = [" + ".join(networks) for networks in chosen]
    short = [" + ".join(map(_stem, networks)) for networks in chosen]
    return short if len(set(short)) == len(short) else [
        f"{number}: {name}" for number, name in enumerate(names, start=1)
    ]  # fmt: skip


def _stem(name: str) -> str:
    return Path(name).stem if name.endswith((".onnx", ".safetensors")) else name


def image_counts(embedded: Embedded) -> dict[str, int]:
    """Of the images those without a vector: a face was not found in `missing - unreadable`."""
    return {
        "images": len(embedded.vectors),
        "missing": len(embedded.missing),
        "unreadable": embedded.unreadable,
        "from_cache": embedded.reused,
    }


def report_missing(embedded: Embedded) -> None:
    for key, reason in list(embedded.missing.items())[:_MAX_REPORTED]:
        say(f"{key}: {reason}")
    if len(embedded.missing) > _MAX_REPORTED:
        more = counted(len(embedded.missing) - _MAX_REPORTED, "more image", "more images")
        say(f"… and {more} without a vector")


def write_scalars(
    run: Run, protocol: str, records: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    if run.tensorboard is None:
        return
    from facerec.evaluation.scalars import write_scalars

    write_scalars(run.tensorboard, protocol, dict(records))


def finish(
    run: Run,
    figures: Sequence[float],
    embedded: Sequence[Embedded],
    refused: FacerecError | None = None,
) -> None:
    """The exit code: 1 for `--fail-under`, 3 where an image was absent or unreadable.

    Args:
        refused: why thresholds could not be written, which is raised.
    """
    if refused is not None:
        raise refused
    if run.fail_under is not None and any(figure < run.fail_under for figure in figures):
        say(f"{min(figures):.4f} % is less than --fail-under {run.fail_under:g}")
        raise typer.Exit(1)
    exit_with_failures(sum(one.unreadable for one in embedded))
