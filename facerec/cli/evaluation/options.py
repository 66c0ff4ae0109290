"""Options that the subcommands of `facerec evaluate` share, and how they become settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.console import refuse_to_replace
from facerec.cli.options import load_profile
from facerec.errors import UsageError

if TYPE_CHECKING:
    from facerec.evaluation.run import Setting


class OnMissing(str, Enum):
    """What becomes of an image without a vector."""

    FAIL = "fail"
    SCORE_AS_DIFFERENT = "score-as-different"


Data = Annotated[
    Path, typer.Option("--data", metavar="DIR|TAR|ZIP", help="The data set, read in place.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="A model; repeat it to compare several on the same pairs. [model.name]",
    ),
]
Cards = Annotated[
    list[Path] | None,
    typer.Option(
        "--card",
        metavar="FILE",
        help="The card (YAML or JSON) of a model that carries none; in the order of the "
        "ONNX models, or for the one model. [model.card]",
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(metavar="none|flip|views", help="What is averaged. [model.augment]"),
]
Aligned = Annotated[
    bool, typer.Option("--aligned", help="The images are aligned faces: detect nothing.")
]
Missing = Annotated[
    OnMissing, typer.Option("--on-missing", help="What an image without a vector means.")
]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Keep and reuse vectors.")]
FailUnder = Annotated[
    float | None,
    typer.Option(
        help="Exit with 1 if a model's accuracy (identification: rank 1; ijb: TAR at FAR 1e-4; "
        "detection: average precision), in percent, is lower."
    ),
]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write one self-contained page, index.html.")
]
TensorBoard = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the figures as TensorBoard scalars.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="CARD|MODEL|GALLERY",
        help="Write the thresholds at FAR 1e-2, 1e-3 and 1e-4 into a model card (.yaml, .json), "
        "a model (.safetensors) or a gallery (.h5).",
    ),
]


@dataclass(frozen=True)
class Run:
    """The options that all subcommands share."""

    models: Sequence[str] | None
    cards: Sequence[Path] | None
    augment: str | None
    aligned: bool
    on_missing: OnMissing
    cache: bool
    fail_under: float | None
    report: Path | None
    tensorboard: Path | None
    force: bool
    workers: int | None
    batch: int | None
    as_json: bool | None
    profile: str
    settings: list[str] | None

    def check(self) -> None:
        """Refuse before the work what would be refused after it."""
        if self.report is not None:
            refuse_to_replace(self.report / "index.html", force=self.force)

    def profiles(self) -> list[Setting]:
        """One setting a model, in the order given."""
        from facerec.evaluation.run import Setting

        models: Sequence[str | None] = self.models or [None]
        cards = list(self.cards or ())
        settings = []
        for model in models:
            takes = bool(cards) and (len(models) == 1 or str(model).endswith(".onnx"))
            loaded = load_profile(
                self.profile,
                self.settings,
                model__name=model,
                model__card=cards.pop(0) if takes else None,
                model__augment=self.augment,
                runtime__workers=self.workers,
                runtime__batch=self.batch,
            )
            settings.append(
                Setting(loaded, self.aligned, self.cache, self.on_missing is OnMissing.FAIL)
            )
        if cards:
            raise UsageError(f"--card {cards[0]}: no model is left that it could belong to")
        return settings
